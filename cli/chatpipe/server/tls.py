"""TLS contexts: what is trusted, and which certificate is shown."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from chatpipe.errors import BadConfiguration, ChatpipeError, MissingInput
from chatpipe.options.server import ServerOptions
from chatpipe.server.variables import variable
from chatpipe.system.causes import system_message

if TYPE_CHECKING:
    import ssl


def tls_context(options: ServerOptions, environ: Mapping[str, str]) -> ssl.SSLContext:
    """A context that trusts --cacert, else SSL_CERT_FILE and SSL_CERT_DIR, else the system store.

    The system store comes before certifi, unlike in httpx. curl and the machine's package manager
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
    import ssl

    if options.cacert is not None:
        if os.path.isdir(options.cacert):
            return ssl.create_default_context(capath=options.cacert)
        return _context_from_file(options.cacert, None, place="--cacert")
    file = variable(environ, "SSL_CERT_FILE")
    folder = variable(environ, "SSL_CERT_DIR")
    if file:
        return _context_from_file(file, folder or None, place="SSL_CERT_FILE")
    if folder:
        return ssl.create_default_context(capath=folder)
    context = ssl.create_default_context()
    if not context.cert_store_stats()["x509_ca"] and not _has_system_folder():
        import certifi

        context.load_verify_locations(certifi.where())
    return context


def _has_system_folder() -> bool:
    """True if OpenSSL's certificate directory is not empty. OpenSSL reads it lazily, so stats omit it."""
    import ssl

    folder = ssl.get_default_verify_paths().capath
    return folder is not None and any(os.scandir(folder))


def _context_from_file(file: str, folder: str | None, place: str) -> ssl.SSLContext:
    import ssl

    try:
        return ssl.create_default_context(cafile=file, capath=folder)
    except ssl.SSLError as error:
        raise BadConfiguration(f"no certificate in PEM form in '{file}'", place=place) from error
    except OSError as error:
        raise _unreadable(error, file, place) from error


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
        what = f"not a certificate and its key in PEM form: {system_message(error).lower()}"
        raise BadConfiguration(what, place="--client-cert") from error


def _unreadable(error: OSError, file: str, place: str) -> ChatpipeError:
    return MissingInput(f"cannot read '{file}': {system_message(error).lower()}", place=place)
