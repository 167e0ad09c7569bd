"""A base for records that are made and read once or more for each line of a run.

It is used like NamedTuple, of which it has what a record needs: fields may have defaults, and `_replace`,
`_make`, iteration, comparison and pickling take the fields in their order. A field is a slot: to read one
takes a tenth of the instructions that a field of a tuple takes, and to make a record of ten takes three
quarters. The class itself costs more to make, so that records that a call makes a few times are NamedTuples.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any, ClassVar, Self, dataclass_transform

    @dataclass_transform(frozen_default=True)
    class LineRecord:
        """A base that makes a class of its annotations, as for typing.NamedTuple."""

        _fields: ClassVar[tuple[str, ...]]

        def _replace(self, **changes: Any) -> Self: ...
        @classmethod
        def _make(cls, values: Iterable[Any]) -> Self: ...
        def __iter__(self) -> Iterator[Any]: ...
else:

    class _SlotFields:
        """The methods of every class. They take the values from _values, which each class has."""

        __slots__ = ()
        __hash__ = None

        @classmethod
        def _make(cls, values):
            """A record with the values of an iterable. Raises TypeError for too many or too few."""
            return cls(*values)

        def _replace(self, /, **changes):
            """The same with other values. Raises TypeError for a name that is no field."""
            return self.__class__(**{**dict(zip(self._fields, self, strict=True)), **changes})

        def __iter__(self):
            return iter(self._values(self))

        def __eq__(self, other):
            if other.__class__ is not self.__class__:
                return NotImplemented
            return self._values(self) == other._values(other)

        def __repr__(self):
            pairs = zip(self._fields, self, strict=True)
            return f"{self.__class__.__name__}({', '.join(f'{name}={value!r}' for name, value in pairs)})"

        def __reduce__(self):
            return self.__class__, self._values(self)

    class _SlotMaker(type):
        """Makes a class with LineRecord as its base a subclass of _SlotFields. It is not its metaclass."""

        def __new__(cls, name, bases, namespace):
            if not bases:
                return super().__new__(cls, name, bases, namespace)
            # From Python 3.14 on they are here only in a module with the __future__ import.
            fields = tuple(namespace["__annotations__"])
            defaults = tuple(namespace.pop(field) for field in fields if field in namespace)
            namespace.update(
                __slots__=fields,
                __match_args__=fields,
                __init__=_initializer(fields, defaults),
                _fields=fields,
                _values=attrgetter(*fields),
            )
            return type(name, (_SlotFields, *bases[1:]), namespace)

    def _initializer(fields, defaults):
        body = "; ".join(f"self.{field} = {field}" for field in fields)
        space = {}
        exec(f"def __init__(self, {', '.join(fields)}): {body}", space)  # noqa: S102
        space["__init__"].__defaults__ = defaults
        return space["__init__"]

    LineRecord = _SlotMaker("LineRecord", (), {"__doc__": "A base as that of typing.NamedTuple."})
