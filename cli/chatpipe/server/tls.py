"""TLS contexts: what is trusted, and which certificate is shown."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from chatpipe.errors import BadConfiguration, ChatpipeError, MissingInput
from chatpipe.options.server import ServerOptions
from chatpipe.server import certificates
from chatpipe.server.variables import variable
from chatpipe.system.causes import system_message

if TYPE_CHECKING:
    import ssl

_MAX_PEM_BYTES = 1 << 20
# The reasons of OpenSSL: the first for a key of the same kind, the others for one of another kind.
_KEY_OF_ANOTHER = ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED")


def tls_context(options: ServerOptions, environ: Mapping[str, str]) -> ssl.SSLContext:
    """A context that trusts --cacert, else SSL_CERT_FILE and SSL_CERT_DIR, else the system store.

    The system store is its hashed folder if that holds what the bundle holds: see certificates.py.
    It comes before certifi, unlike in httpx. curl and the machine's package manager
    trust it; it includes the company's authority and excludes withdrawn ones. certifi is the
    fallback if Python's OpenSSL finds no certificates, as in slim containers.
    """
    import ssl

    if options.client_key is not None and options.client_cert is None:
        raise BadConfiguration("a key without its certificate", place="--client-key", fix="add --client-cert")
    if options.insecure:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        context = _verifying_context(options, environ)
    context.set_alpn_protocols(["http/1.1"])
    if options.client_cert is not None:
        _load_client_certificate(context, options.client_cert, options.client_key)
    return context


def _verifying_context(options: ServerOptions, environ: Mapping[str, str]) -> ssl.SSLContext:
    if options.cacert is not None:
        if os.path.isdir(options.cacert):
            return _context_from_folders(options.cacert, place="--cacert")
        return _context_from_file(options.cacert, None, place="--cacert")
    file = variable(environ, "SSL_CERT_FILE")
    folders = variable(environ, "SSL_CERT_DIR")
    if file:
        return _context_from_file(file, folders or None, place="SSL_CERT_FILE")
    if folders:
        return _context_from_folders(folders, place="SSL_CERT_DIR")
    return _system_context()


def _system_context() -> ssl.SSLContext:
    """A context that trusts the system's certificates, or those of certifi if OpenSSL finds none."""
    import ssl

    bundle, folder = default_store()
    if certificates.is_hashed_copy(folder, bundle):
        return ssl.create_default_context(capath=folder)
    context = ssl.create_default_context()
    if not _has_bundle(context) and not certificates.has_hashed(folder):
        _load_certifi(context)
    return context


def default_path() -> str:
    """The file or the folder of the certificates that are trusted if no option and no variable names one."""
    import ssl

    bundle, folder = default_store()
    if certificates.is_hashed_copy(folder, bundle):
        return folder
    if _has_bundle(ssl.create_default_context()):
        return bundle
    return folder if certificates.has_hashed(folder) else _certifi_path()


def _has_bundle(context: ssl.SSLContext) -> bool:
    """True if the context has loaded certificates. Those of a folder are opened at a handshake."""
    return context.cert_store_stats()["x509_ca"] > 0


def _load_certifi(context: ssl.SSLContext) -> None:
    import ssl

    path = _certifi_path()
    try:
        context.load_verify_locations(path)
    except (ssl.SSLError, OSError) as error:
        what = f"no certificates: the system has none, and '{path}' is broken or missing"
        fix = "install the package ca-certificates of the system, or name a PEM file with --cacert"
        raise BadConfiguration(what, fix=fix) from error


def _certifi_path() -> str:
    import certifi

    return certifi.where()


def default_store() -> tuple[str, str]:
    """The bundle and the folder that this OpenSSL was built to read. Neither needs to exist."""
    import ssl

    paths = ssl.get_default_verify_paths()
    return paths.openssl_cafile, paths.openssl_capath


def _context_from_folders(folders: str, place: str) -> ssl.SSLContext:
    """A context that trusts the hashed certificates of these folders, a list as in PATH."""
    import ssl

    if not any(map(certificates.has_hashed, folders.split(os.pathsep))):
        what = f"no hashed certificates in '{folders}'"
        raise BadConfiguration(what, place=place, fix="run `openssl rehash` there, or name a PEM file")
    return ssl.create_default_context(capath=folders)


def _context_from_file(file: str, folders: str | None, place: str) -> ssl.SSLContext:
    import ssl

    bundle, folder = default_store()
    if folders is None and _is_same_file(file, bundle) and certificates.is_hashed_copy(folder, bundle):
        return ssl.create_default_context(capath=folder)
    try:
        return ssl.create_default_context(cafile=file, capath=folders)
    except ssl.SSLError as error:
        raise BadConfiguration(f"no certificate in PEM form in '{file}'", place=place) from error
    except OSError as error:
        raise _unreadable(error, file, place) from error


def _is_same_file(one: str, other: str) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False


def _load_client_certificate(context: ssl.SSLContext, cert: str, key: str | None) -> None:
    """Load the client certificate, for servers that request one."""
    import ssl

    for place, file in (("--client-cert", cert), ("--client-key", key)):
        try:
            if file is not None:
                open(file, "rb").close()  # OpenSSL does not report which file it cannot read
        except OSError as error:
            raise _unreadable(error, file or "", place) from error

    def refuse() -> str:
        # Without this callback OpenSSL prompts for the password on the terminal, amid a pipeline.
        raise BadConfiguration("the key is encrypted", place="--client-key", fix="give one without password")

    try:
        context.load_cert_chain(cert, key, password=refuse)
    except ssl.SSLError as error:
        if error.reason in _KEY_OF_ANOTHER:
            what, fix = "the key is that of another certificate", "name the right one with --client-key"
            raise BadConfiguration(what, place="--client-key" if key else "--client-cert", fix=fix) from error
        if key is None and _is_certificate_alone(cert):
            what, fix = f"'{cert}' has no key", "name the key with --client-key"
            raise BadConfiguration(what, place="--client-cert", fix=fix) from error
        what = f"not a certificate and its key in PEM form: {system_message(error).lower()}"
        raise BadConfiguration(what, place="--client-cert") from error


def _is_certificate_alone(file: str) -> bool:
    try:
        with open(file, "rb") as opened:
            text = opened.read(_MAX_PEM_BYTES)
    except OSError:
        return False
    return b"-----BEGIN CERTIFICATE-----" in text and b"PRIVATE KEY-----" not in text


def _unreadable(error: OSError, file: str, place: str) -> ChatpipeError:
    return MissingInput(f"cannot read '{file}': {system_message(error).lower()}", place=place)
