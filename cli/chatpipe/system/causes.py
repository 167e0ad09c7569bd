"""The system error behind an httpx exception, and its message."""

from __future__ import annotations


def root_os_error(error: BaseException | None) -> OSError | None:
    """The OSError that caused an httpx exception, or None if no system call failed."""
    # Follow the context too, because httpcore raises some of its exceptions in between `from None`.
    while error is not None and not isinstance(error, OSError):
        error = error.__cause__ or error.__context__
    return error


def system_message(error: Exception | None) -> str:
    """The system's message without error number, OpenSSL's library name and its source line.

    A ValueError is Python's word about the name of a host, and differs between its versions.
    """
    verify_message = getattr(error, "verify_message", None)  # of ssl.SSLCertVerificationError
    if verify_message:
        return f"certificate verify failed: {verify_message}"
    if isinstance(error, ValueError) and not isinstance(error, OSError):
        return "no host can have this name"
    text = getattr(error, "strerror", None) or str(error)
    if text.startswith("[SSL"):
        text = text.partition("] ")[2]
    return text.partition(" (_ssl.c")[0]
