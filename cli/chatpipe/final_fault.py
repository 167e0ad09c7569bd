"""Any exception that ends a command -> the fault that is reported: its own, one of the machine, or a bug."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Mapping, Sequence

from chatpipe.errors import (
    FREE_MEMORY,
    OUT_OF_MEMORY,
    BadConfiguration,
    CannotWrite,
    ChatpipeError,
    Status,
    lacks_memory,
)

_TOO_MANY_FILES = "cannot open another file"
_NO_THREAD = "can't start new thread"  # the words of a RuntimeError, which gives no error number
_FILE_LIMITS = (errno.EMFILE, errno.ENFILE)
# Errors of the system that are no bug of ours, wherever they come from.
_SYSTEM_ERRNOS = frozenset(
    {
        *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF, errno.EROFS, errno.ESTALE),
        *(errno.EINTR, errno.ENOLCK, errno.ETIMEDOUT, errno.ENOTCONN, errno.ENXIO, errno.ENODEV),
        *(errno.EACCES, errno.EPERM, *_FILE_LIMITS),
    }
)


def final_fault(error: Exception, arguments: Sequence[str], environ: Mapping[str, str]) -> ChatpipeError:
    """The fault for an exception that ends a command.

    arguments and environ are those of the process: the words of a bug may have anything of them.
    """
    if isinstance(error, ChatpipeError):
        return _true_fault(error)
    return _system_fault(error) or _machine_fault(error) or _bug_fault(error, arguments, environ)


def _true_fault(fault: ChatpipeError) -> ChatpipeError:
    """The fault, or that of the limit of open files: the file that is one too many is not wrong."""
    cause = fault.__cause__
    if isinstance(cause, OSError) and cause.errno in _FILE_LIMITS and fault.status is not Status.CANNOT_WRITE:
        return _fault_of_errno(cause)
    return fault


def _system_fault(error: Exception) -> ChatpipeError | None:
    """The fault for an error of the system that no module has expected. None for other exceptions."""
    if isinstance(error, OSError) and error.errno in _SYSTEM_ERRNOS:
        return _fault_of_errno(error)
    # A library of the system has the number of its error in words only.
    if isinstance(error, ImportError) and os.strerror(errno.EMFILE) in str(error):
        return _fault_of_errno(OSError(errno.EMFILE, os.strerror(errno.EMFILE)))
    return None


def _fault_of_errno(error: OSError) -> ChatpipeError:
    from chatpipe.system.descriptor import cannot_write

    if error.errno in _FILE_LIMITS:  # any file may be the one too many
        return cannot_write("", error, _TOO_MANY_FILES)
    # Without a name it is a descriptor, and that of all files that are ours has one.
    if error.filename is None:
        return cannot_write("stdout", error, "cannot write")
    return cannot_write(os.fsdecode(error.filename), error, "cannot be used")


def _machine_fault(error: Exception) -> ChatpipeError | None:
    """The fault for a lack of memory or threads, or a package that cannot be imported. None for others."""
    if lacks_memory(error):
        return CannotWrite(OUT_OF_MEMORY, fix=_with_notes(error, FREE_MEMORY))
    if isinstance(error, RuntimeError) and str(error) == _NO_THREAD:
        fix = "raise the limit that 'ulimit -u' shows, or free memory, and run the same command again"
        return CannotWrite("cannot start another thread", fix=_with_notes(error, fix))
    package = (error.name or "").partition(".")[0] if isinstance(error, ImportError) else ""
    # A name that our own modules do not have is a bug, and so is one of Python's own.
    if package in ("", "chatpipe") or package in sys.stdlib_module_names:
        return None
    return BadConfiguration(f"the package {package} is missing or broken", fix="install chatpipe again")


def _bug_fault(error: Exception, arguments: Sequence[str], environ: Mapping[str, str]) -> ChatpipeError:
    from chatpipe.server.stray_keys import hide_everything

    hide_everything(environ, arguments)
    words = f"{type(error).__name__}: {error}".removesuffix(": ")
    return ChatpipeError(f"a bug: {words}", fix=_with_notes(error, "please report what --debug shows"))


def _with_notes(error: Exception, fix: str) -> str:
    """Put the notes of an exception (PEP 678) before fix: an output says so where it kept what came."""
    return ", ".join((*getattr(error, "__notes__", []), fix))
