"""typing.NamedTuple, but a class is made in a tenth of the time.

A short command makes about 70 of these classes. typing.NamedTuple compiles source for each and checks its
annotations. Here the classes of one number of fields share the code of one constructor, which differs in
the names of its parameters only. To type checkers it is typing.NamedTuple itself.
"""

from __future__ import annotations

TYPE_CHECKING = False  # as in typing, which the completion of names does without
if TYPE_CHECKING:
    from typing import NamedTuple as NamedTuple
else:
    from _collections import _tuplegetter as _field  # as in the collections module
    from types import FunctionType

    new = tuple.__new__

    # The constructors by the number of fields, without the names of the parameters.
    _CONSTRUCTORS = {
        0: lambda z: new(z, ()),
        1: lambda z, a: new(z, (a,)),
        2: lambda z, a, b: new(z, (a, b)),
        3: lambda z, a, b, c: new(z, (a, b, c)),
        4: lambda z, a, b, c, d: new(z, (a, b, c, d)),
        5: lambda z, a, b, c, d, e: new(z, (a, b, c, d, e)),
        6: lambda z, a, b, c, d, e, f: new(z, (a, b, c, d, e, f)),
        7: lambda z, a, b, c, d, e, f, g: new(z, (a, b, c, d, e, f, g)),
        8: lambda z, a, b, c, d, e, f, g, h: new(z, (a, b, c, d, e, f, g, h)),
        9: lambda z, a, b, c, d, e, f, g, h, i: new(z, (a, b, c, d, e, f, g, h, i)),
    }

    def _constructor(name, fields, defaults):
        """`__new__` of a class with these fields, the last of which have these defaults."""
        template = _CONSTRUCTORS.get(len(fields)) or _compiled(len(fields))
        code = template.__code__.replace(
            co_varnames=("_cls", *fields), co_name="__new__", co_qualname=f"{name}.__new__"
        )
        return FunctionType(code, template.__globals__, "__new__", defaults)

    def _compiled(count):
        names = ", ".join(f"a{index}" for index in range(count))
        return eval(f"lambda z, {names}: new(z, ({names},))", globals())  # noqa: S307

    class _Fields(tuple):
        """The methods of every class."""

        __slots__ = ()

        @classmethod
        def _make(cls, values):
            """An instance with the values of an iterable. Raises TypeError for too many or too few."""
            return cls(*values)

        def _replace(self, /, **changes):
            """The same with other values. Raises TypeError for a name that is no field."""
            values = new(self.__class__, map(changes.pop, self._fields, self))
            if changes:
                raise TypeError(f"{self.__class__.__name__} has no field {', '.join(changes)}")
            return values

        def _asdict(self):
            return dict(zip(self._fields, self, strict=True))

        def __repr__(self):
            pairs = ", ".join(f"{name}={value!r}" for name, value in self._asdict().items())
            return f"{self.__class__.__name__}({pairs})"

        def __getnewargs__(self):
            """The arguments with which copy and pickle make it again."""
            return tuple(self)

    class _Maker(type):
        """Makes a class with NamedTuple as its base a subclass of tuple. It is no metaclass of that class."""

        def __new__(cls, name, bases, namespace):
            if not bases:
                return super().__new__(cls, name, bases, namespace)
            # From Python 3.14 on they are here only in a module with the __future__ import.
            fields = tuple(namespace.get("__annotations__", ()))
            defaults = {field: namespace[field] for field in fields if field in namespace}
            if tuple(defaults) != fields[len(fields) - len(defaults) :]:
                raise TypeError(f"{name}: a field without a default follows one with a default")
            namespace.update(
                __slots__=(),
                __match_args__=fields,
                __new__=_constructor(name, fields, tuple(defaults.values())),
                _fields=fields,
                _field_defaults=defaults,
            )
            for index, field in enumerate(fields):
                namespace[field] = _field(index, "")
            return type(name, (_Fields, *bases[1:]), namespace)

    class NamedTuple(metaclass=_Maker):
        """A base as typing.NamedTuple is one."""
