"""Every exception of httpx, where it is raised: before the reply, in its body, in its stream."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from chatpipe.errors import Status
from exchange.scripted import DONE, Receiver, piece, plain, served, stream, whole

# The status at the end, and whether the request is sent again before.
AT_SEND: dict[type[Exception], tuple[Status, bool]] = {
    httpx.HTTPError: (Status.UNREACHABLE, False),
    httpx.RequestError: (Status.UNREACHABLE, False),
    httpx.TransportError: (Status.UNREACHABLE, False),
    httpx.TimeoutException: (Status.TRY_LATER, True),
    httpx.ConnectTimeout: (Status.TRY_LATER, True),
    httpx.ReadTimeout: (Status.TRY_LATER, True),
    httpx.WriteTimeout: (Status.TRY_LATER, True),
    httpx.PoolTimeout: (Status.TRY_LATER, True),
    httpx.NetworkError: (Status.UNREACHABLE, True),
    httpx.ConnectError: (Status.UNREACHABLE, True),
    httpx.ReadError: (Status.UNREACHABLE, True),
    httpx.WriteError: (Status.UNREACHABLE, True),
    httpx.CloseError: (Status.UNREACHABLE, True),
    httpx.ProxyError: (Status.UNREACHABLE, False),
    httpx.UnsupportedProtocol: (Status.BAD_CONFIGURATION, False),
    httpx.ProtocolError: (Status.BROKEN_ANSWER, False),
    httpx.LocalProtocolError: (Status.BAD_CONFIGURATION, False),
    httpx.RemoteProtocolError: (Status.BROKEN_ANSWER, True),
    httpx.DecodingError: (Status.BROKEN_ANSWER, False),
    httpx.TooManyRedirects: (Status.BAD_CONFIGURATION, False),
    httpx.InvalidURL: (Status.BAD_CONFIGURATION, False),
}
CLASSES = pytest.mark.parametrize("kind", AT_SEND, ids=lambda kind: kind.__name__)


def subclasses(base: type[Exception]) -> Iterator[type[Exception]]:
    yield base
    for each in base.__subclasses__():
        yield from subclasses(each)


def test_every_class_of_httpx_has_a_row() -> None:
    """HTTPStatusError is raised by raise_for_status alone, which nobody calls."""
    ours = {each for each in subclasses(httpx.HTTPError) if each.__module__.startswith("httpx")}
    assert ours - {httpx.HTTPStatusError} | {httpx.InvalidURL} == set(AT_SEND)


@CLASSES
def test_before_the_reply(kind: type[Exception]) -> None:
    status, again = AT_SEND[kind]
    server = served(kind("why"), kind("why"))
    fault = server.fault(retries=1)
    assert fault.status == status
    assert len(server.slept) == again
    assert len(server.requests) == 1 + again


@CLASSES
def test_in_the_body_of_an_answer(kind: type[Exception]) -> None:
    status, again = AT_SEND[kind]
    server = served(plain(b'{"id":', kind("why")), plain(b"", kind("why")))
    answer, fault = server.failure(retries=1)
    assert fault.status == status
    assert (answer.completion, answer.body) == (None, None)
    assert len(server.slept) == again
    assert server.all_closed


@CLASSES
def test_in_the_body_of_an_error(kind: type[Exception]) -> None:
    """Its status has been told: that counts, not that the connection broke behind it."""
    server = served(plain(b'{"error":', kind("why"), status=400))
    fault = server.fault(retries=0)
    assert fault.status == Status.BAD_INPUT
    assert server.all_closed


@CLASSES
def test_in_a_stream(kind: type[Exception]) -> None:
    server = served(stream(piece("h"), kind("why")))
    answer, fault = server.failure(Receiver(started_at=1))
    assert fault.status == Status.BROKEN_ANSWER
    assert fault.what.startswith("the stream was cut: ")
    assert answer.completion is not None
    assert server.all_closed


@CLASSES
def test_in_a_stream_that_is_whole(kind: type[Exception]) -> None:
    server = served(stream(piece("h", "stop"), kind("why")))
    assert server.ask().fault is None
    assert server.all_closed


@pytest.mark.parametrize("error", [RuntimeError("x"), OSError("x"), KeyboardInterrupt()])
@pytest.mark.parametrize("where", ["body", "stream"])
def test_other_exceptions_propagate_and_close_the_connection(where: str, error: BaseException) -> None:
    pieces = (piece("h"), error) if where == "stream" else (b"{", error)
    server = served(stream(*pieces) if where == "stream" else plain(*pieces))
    with pytest.raises(type(error)):
        server.ask()
    assert server.all_closed


def test_a_stream_that_was_finished_stays_good_without_done() -> None:
    assert served(stream(piece("h", "stop"))).ask().fault is None
    assert served(stream(piece("h"), DONE)).ask().fault is None
    assert served(whole()).ask().fault is None
