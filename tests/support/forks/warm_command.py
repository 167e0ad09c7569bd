"""`chatpipe` for a shell of a test: it has a fork of the warm process run, and ends as that does.

warm.py writes this text into a folder on PATH, beside the socket of the warm process, under a line that
starts Python without its site. Only modules of the interpreter itself are imported: that takes a tenth of
the time in which chatpipe starts. All descriptors go to the fork, signals are passed on, and where this
process is killed, so is the fork. What a fork cannot be, this process itself becomes.
"""

import _signal  # type: ignore[import-not-found]
import _socket
import marshal
import posix
import sys

_SOCKET = sys.argv[0].rpartition("/")[0] + "/socket"
_PROGRAM = sys.executable.rpartition("/")[0] + "/chatpipe"
_LONGEST_MESSAGE = 64 << 10
_PASSED_ON = (
    *(_signal.SIGINT, _signal.SIGTERM, _signal.SIGHUP),
    *(_signal.SIGQUIT, _signal.SIGUSR1, _signal.SIGUSR2),
)


def main() -> None:
    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
    descriptors = _inherited()
    ignored = [number for number in _PASSED_ON if _signal.getsignal(number) == _signal.SIG_IGN]
    message = _terms(descriptors, ignored)
    if message is None:
        posix.execve(_PROGRAM, [_PROGRAM, *sys.argv[1:]], posix.environ)
    process = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    process.connect(_SOCKET)
    rights = b"".join(number.to_bytes(4, sys.byteorder) for number in descriptors)
    process.sendmsg([message], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)])
    for number in descriptors:  # only the fork is to hold the ends of pipes
        posix.close(number)

    def pass_on(number: int, _: object) -> None:
        try:  # noqa: SIM105, contextlib takes longer to import than all that this imports
            process.send(number.to_bytes(1, "little"))
        except OSError:  # it has ended
            pass

    for number in _PASSED_ON:
        if number not in ignored:
            _signal.signal(number, pass_on)
    _end(process.recv(8))


def _terms(descriptors: list[int], ignored: list[int]) -> bytes | None:
    """The message of warm_server.Terms. None for what a fork cannot be: see warm.can_run."""
    environ = posix.environ
    if environ.get(b"LANG") != b"C.UTF-8":
        return None
    if any(name.startswith((b"PYTHON", b"LD_", b"LC_")) for name in environ):
        return None
    umask = posix.umask(0)
    posix.umask(umask)
    try:
        folder = posix.getcwd()
    except OSError:
        return None
    message = marshal.dumps((sys.argv[1:], dict(environ), folder, umask, descriptors, ignored, False, -1))
    return message if len(message) < _LONGEST_MESSAGE else None


def _inherited() -> list[int]:
    """The open descriptors, 0 to 2 included where they are open."""
    found = []
    for name in posix.listdir("/dev/fd"):
        try:
            if posix.get_inheritable(int(name)):
                found.append(int(name))
        except OSError:  # that of the listing itself
            pass
    return sorted(found)


def _end(end: bytes) -> None:
    """End with the status, or by the signal, of the fork."""
    if not end:
        posix.abort()  # there is no warm process any more
    status = int.from_bytes(end, "little", signed=True)
    if status < 0:
        _signal.signal(-status, _signal.SIG_DFL)
        posix.kill(posix.getpid(), -status)
    posix._exit(status)


main()
