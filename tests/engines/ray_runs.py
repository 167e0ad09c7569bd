"""Runs with --engine ray in tests: their input, their command, and how far they are."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import orjson

from support.process import Process
from support.servers import loopback

KEY = "sk-canary-0123456789abcdefghij"
JOBS = 64


class Prompts:
    """A server that answers each prompt after a while, and counts the answers."""

    def __init__(self, latency_s: float = 0.05) -> None:
        self.latency_s = latency_s
        self.answered: Counter[str] = Counter()
        self.times: list[float] = []

    def answer(self, request: loopback.Request) -> loopback.Answer:
        prompt = orjson.loads(request.body)["messages"][0]["content"]
        self.answered[prompt] += 1
        self.times.append(time.monotonic())
        return [loopback.Pause(self.latency_s), loopback.reply(200, loopback.completion(f"{prompt}!"))]

    @property
    def answered_twice(self) -> int:
        return sum(count - 1 for count in self.answered.values())


def write_prompts(folder: Path, count: int) -> None:
    lines = (f'{{"prompt":"p{number}"}}\n' for number in range(count))
    (folder / "in.jsonl").write_text("".join(lines))


def arguments(url: str, engine: str, *more: str) -> tuple[str, ...]:
    return ("batch", "in.jsonl", "--base-url", url, "-m", "m", "--engine", engine, "-j", str(JOBS), *more)


def wait_for_lines(process: Process, folder: Path, count: int) -> None:
    """Wait until a run has this number of answers. It fails if the run ends before."""
    while _recorded(folder) < count:
        if process.poll() is not None:
            _, stderr = process.communicate()
            raise AssertionError(f"status {process.returncode}: {stderr.decode()}")
        time.sleep(0.05)


def _recorded(folder: Path) -> int:
    """The number of lines in the journal, without its first."""
    journal = folder / "out.jsonl.journal"
    return journal.read_bytes().count(b"\n") - 1 if journal.exists() else -1


def files_with(folder: Path, text: bytes) -> list[Path]:
    """The files with this text. One that is removed meanwhile has it not."""
    return [path for path in folder.rglob("*") if path.is_file() and text in _read(path)]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
