"""The other end of a socket that goes away while this process is busy."""

from __future__ import annotations

import socket
import threading

from chatpipe.cluster.hangup import call_at_hangup


def test_the_end_of_the_other_side_is_noticed_in_the_block() -> None:
    ours, theirs = socket.socketpair()
    left = threading.Event()
    with ours, call_at_hangup(ours.fileno(), left.set):
        theirs.close()
        assert left.wait(10)


def test_what_is_sent_is_no_end_and_stays_there() -> None:
    ours, theirs = socket.socketpair()
    left = threading.Event()
    with ours, theirs:
        with call_at_hangup(ours.fileno(), left.set):
            theirs.send(b"a")
            assert not left.wait(0.05)
        theirs.send(b"b")
        assert ours.recv(2) == b"ab"
    assert not left.is_set()


def test_behind_the_block_nobody_looks() -> None:
    ours, theirs = socket.socketpair()
    left = threading.Event()
    with ours:
        with call_at_hangup(ours.fileno(), left.set):
            pass
        theirs.close()
        assert not left.wait(0.05)
