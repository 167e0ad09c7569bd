"""The program: the `chatpipe` script, and `python -m chatpipe`.

Until there is something to clean up, a signal ends the process by its default action: Python's own
handler for Ctrl-C could interrupt imports, where C code does not expect it. No code of ours runs earlier.
"""

import signal
import sys

__all__ = ["main"]

if sys.version_info < (3, 11):  # noqa: UP036  # of a copy of the files, which no installer has checked
    sys.stderr.write(f"chatpipe: this is Python {sys.version.split()[0]}: run it with 3.11 or later\n")
    sys.exit(78)

if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from chatpipe.main import main

if __name__ == "__main__":
    main()
