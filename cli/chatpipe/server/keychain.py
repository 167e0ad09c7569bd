"""The keyring of the system, by the package `keyring`: that of the desktop, of macOS, or what it is set to.

    SERVICE/USER    the password of this user
    SERVICE         that of any user the keyring has for the service, else of the user who is logged in

A slash of `https://` separates nothing.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from getpass import getuser
from typing import Any

from chatpipe.errors import BadConfiguration, NoAccess
from chatpipe.system.escape import shorten
from chatpipe.system.extras import installation
from chatpipe.system.slow_file import noted

_SERVICE_AND_USER = re.compile(r"(.*[^/:])/([^/]+)", re.DOTALL)


def read_password(entry: str, note: Callable[[str], None]) -> str:
    """The password of an entry. note gets a line if the keyring keeps us waiting: it may ask a person.

    Raises BadConfiguration if the package is not there, and NoAccess for each fault of the keyring.
    """
    service, user = _split(entry)
    try:
        import keyring
        import keyring.errors as faults
    except ImportError as error:
        what = "the package 'keyring' is not installed"
        raise BadConfiguration(what, fix=f"use key_command, or {installation('keyring')}") from error
    try:
        with noted(f"waiting for the keyring: {service}", note):
            password = _password(keyring, service, user)
    except faults.NoKeyringError as error:
        raise NoAccess("there is no keyring here", fix="use key_command or key_file") from error
    except (faults.KeyringLocked, faults.InitError) as error:
        raise NoAccess("the keyring is locked", fix="unlock it, and run again") from error
    except Exception as error:  # what a backend raises is its own affair
        raise NoAccess(f"the keyring failed: {shorten(str(error) or type(error).__name__, 200)}") from error
    if password is None:
        whose = f"'{service}'" + (f" and user '{user}'" if user else "")
        fix = f"keyring set {shlex.quote(service)} {shlex.quote(user or 'USER')}"
        raise NoAccess(f"the keyring has no key for {whose}", fix=fix)
    return password


def _password(keyring: Any, service: str, user: str | None) -> str | None:
    found: str | None
    if user is None:
        credential = keyring.get_credential(service, None)
        if credential is not None:
            found = credential.password
            return found
        user = getuser()
    found = keyring.get_password(service, user)
    return found


def shell_words(entry: str) -> str:
    """The expression of a shell that reads the same password."""
    service, user = _split(entry)
    if user is None:
        return f"$(keyring --mode creds get {shlex.quote(service)} | tail -n 1)"
    return f"$(keyring get {shlex.quote(service)} {shlex.quote(user)})"


def _split(entry: str) -> tuple[str, str | None]:
    match = _SERVICE_AND_USER.fullmatch(entry)
    return (match[1], match[2]) if match else (entry, None)
