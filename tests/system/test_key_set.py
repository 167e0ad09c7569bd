"""The set of keys against a set, its memory, and keys that look alike across others."""

from __future__ import annotations

import random
import tracemalloc

from chatpipe.system.key_set import KeySet


def test_a_key_is_new_once() -> None:
    numbers = random.Random(1)
    keys = [numbers.randbytes(8) for _ in range(5000)]
    found, model = KeySet(), set[bytes]()
    for key in numbers.choices(keys, k=20_000):
        assert found.add(key) is (key not in model)
        model.add(key)


def test_a_key_that_stands_across_two_others_is_new() -> None:
    found = KeySet()
    assert found.add(b"\0\0aaaaaa")
    assert found.add(b"\0\0bbbb\0\0")
    assert found.add(b"\0\0cccccc")
    assert found.add(b"\0\0\0\0cccc")
    assert not found.add(b"\0\0\0\0cccc")
    assert not found.add(b"\0\0cccccc")


def test_a_key_takes_9_bytes_if_there_are_many() -> None:
    numbers = random.Random(1)
    found = KeySet()
    tracemalloc.start()
    for _ in range(200_000):
        found.add(numbers.randbytes(8))
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak / 200_000 < 9
    assert kept <= peak
