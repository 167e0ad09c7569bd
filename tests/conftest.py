"""For every test: an environment that names no server, key, proxy or profile."""

from __future__ import annotations

import gc
import itertools
import os
import signal
from pathlib import Path

import pytest
from _pytest.runner import runtestprotocol
from hypothesis import HealthCheck, settings

from chatpipe.server.profiles import secret_variables
from chatpipe.system import secrets, signals

_OURS = ("CHATPIPE_", *secret_variables(), "OPENAI_", "MAKELEVEL")
_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
_KEPT = ("CHATPIPE_TEST_ALL", "CHATPIPE_SOAK", "CHATPIPE_PEER_PYTHON", "CHATPIPE_AIMOCK")


def pytest_configure() -> None:
    """A developer's own key must not be able to leave, whatever a test forgets."""
    for name in list(os.environ):
        if (name.startswith(_OURS) and name not in _KEPT) or name.lower() in _PROXIES:
            del os.environ[name]
    os.environ["XDG_CONFIG_HOME"] = os.devnull  # nor a developer's own settings count
    # Some machines are slow, which is nothing that a test of ours is about. `make test` tries the same
    # examples each time, so that it fails only if something has changed. A soak tries new ones.
    slow = [HealthCheck.too_slow]
    settings.register_profile("test", deadline=None, suppress_health_check=slow, derandomize=True)
    settings.register_profile("soak", deadline=None, suppress_health_check=slow, max_examples=2_000)
    settings.load_profile("soak" if os.environ.get("CHATPIPE_SOAK") else "test")
    # A shell without job control starts what it puts behind `&` with these ignored, and ignored they
    # would stay in every process that a test starts and then hits.
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """In a worker, report a test that passed once: a message to the other process costs half a millisecond.

    pytest itself sends five: that it started, was set up, passed, was torn down and ended.
    """
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return None
    reports = runtestprotocol(item, log=False, nextitem=nextitem)
    if all(report.passed for report in reports):
        reports = [report for report in reports if report.when == "call"]
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    return True


def pytest_collection_finish() -> None:
    """Keep what was collected out of later garbage collections: each takes 1 ms and not 100."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """The secrets of a process are those of one test."""
    monkeypatch.setattr(secrets, "_known", [])


@pytest.fixture
def signals_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each signal that a test sends to this process comes a second behind the one before."""
    monkeypatch.setattr(signals._arrivals, "clock", itertools.count().__next__)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of the test, which is the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
