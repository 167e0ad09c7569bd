"""Fields put into the text of an object: every other byte stays."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from chatpipe.inputs.splice import set_fields
from support.parametrize import cases


@cases(
    ("data", "fields", "expected"),
    {
        "behind": (b'{"a":1}', {"b": "x"}, b'{"a":1,"b":"x"}'),
        "into nothing": (b"{}", {"b": None}, b'{"b":null}'),
        "into a space": (b"{ }", {"b": 1, "c": [2]}, b'{"b":1,"c":[2]}'),
        "spaces and numbers stay": (b'{ "a" : 1.10 } ', {"b": 1}, b'{ "a" : 1.10,"b":1}'),
        "in its place": (b'{"a":1,"b":{"a":2}}', {"a": "x"}, b'{"a":"x","b":{"a":2}}'),
        "both": (b'{"a" : 1e400 , "b":2}', {"a": 3, "c": 4}, b'{"a" : 3 , "b":2,"c":4}'),
        "a name that comes twice": (b'{"a":1,"a":2}', {"a": 3}, b'{"a":3,"a":3}'),
        "a name that is written as an escape": (b'{"\\u0061":1}', {"a": 3}, b'{"\\u0061":3}'),
        "not ASCII": ('{"é":"}","a":1}'.encode(), {"é": "ü"}, '{"é":"ü","a":1}'.encode()),
        "more digits than int() takes": (b'{"a":' + b"9" * 5000 + b"}", {"a": 1}, b'{"a":1}'),
    },
)
def test_set_fields_keeps_every_other_byte(data: bytes, fields: dict[str, Any], expected: bytes) -> None:
    present = json.loads(data, parse_int=str)
    assert set_fields(data, present, fields) == expected


_OBJECT = st.dictionaries(
    st.text('ab"\\é', max_size=2), st.none() | st.text(max_size=3) | st.lists(st.integers())
)


@given(_OBJECT, _OBJECT, st.sampled_from([None, 1]))
def test_the_result_is_both_objects(old: dict[str, Any], new: dict[str, Any], indent: int | None) -> None:
    data = json.dumps(old, indent=indent).replace("\n", " ").encode()
    both = json.loads(set_fields(data, old, new))
    assert both == {**old, **new}
    assert list(both) == list({**old, **new})
