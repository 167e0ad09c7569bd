"""The error of the system behind an exception of httpx, and its words."""

from __future__ import annotations


def system_error(error: BaseException | None) -> OSError | None:
    """The OSError at the root of an exception of httpx; None if it is not the system that failed."""
    # httpcore's own exceptions are in between, some of them raised `from None`: hence the context.
    while error is not None and not isinstance(error, OSError):
        error = error.__cause__ or error.__context__
    return error


def system_message(error: Exception | None) -> str:
    """What the system said, without error number, OpenSSL's library name and source line."""
    verify_message = getattr(error, "verify_message", None)  # of ssl.SSLCertVerificationError
    if verify_message:
        return f"certificate verify failed: {verify_message}"
    text = getattr(error, "strerror", None) or str(error)
    if text.startswith("[SSL"):
        text = text.partition("] ")[2]
    return text.partition(" (_ssl.c")[0]
