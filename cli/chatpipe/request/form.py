"""`--schema` and its kin -> the form that an answer is to have: the schema, read, and how it is sent."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from chatpipe.errors import BadInput, UsageFault
from chatpipe.inputs import messages, values
from chatpipe.inputs.argument import argument
from chatpipe.inputs.messages import Found, kind
from chatpipe.inputs.place import Source
from chatpipe.inputs.sources import STDIN, Sources
from chatpipe.inputs.values import NotJSON, Value
from chatpipe.request.parameters import Parameters
from chatpipe.request.structure import LONGEST_NAME, NAME_LETTERS, Structure

_UNNAMED = "answer"
_FIELD = "response_format"
# What the options say; beside them --set may still add, a description for one.
_OURS = {
    (_FIELD,),
    (_FIELD, "type"),
    (_FIELD, "json_schema"),
    *((_FIELD, "json_schema", key) for key in ("name", "schema", "strict")),
}


class Form(NamedTuple):
    """A schema, where it stands, and the option that named it."""

    option: str
    name: str
    schema: Found
    strict: bool

    @property
    def response_format(self) -> dict[str, Value]:
        """The field of that name in a request."""
        about = {"name": self.name, "schema": self.schema.value, "strict": self.strict}
        return {"type": "json_schema", "json_schema": about}

    @property
    def origin(self) -> Found | str:
        """Where the schema came from: the file that has lines, or the option that has none."""
        return self.schema if self.option == "--schema" else self.option

    def place(self, pointer: str = "") -> str:
        """`file:line` of the value at pointer in the schema, or the option that it is written in."""
        return self.origin if isinstance(self.origin, str) else self.origin.place(pointer)


def read(structure: Structure, sources: Sources) -> Form | None:
    """The form that was asked for, None where none was. Raises UsageFault, BadInput, MissingInput."""
    if structure.file is not None:
        schema = messages.document(sources.read(structure.file, "--schema"))
        stem = _stem(structure.file)
    elif structure.text is not None:
        schema = _typed(structure.text)
        stem = ""
    else:
        return None
    form = Form(structure.option or "", "", schema, structure.strict)
    if not isinstance(schema.value, dict):
        raise BadInput(f"a schema to ask with is an object, not {kind(schema.value)}", place=form.place())
    return form._replace(name=structure.name or _name((schema.value.get("title"), stem)))


def _typed(text: str) -> Found:
    """The value of --schema-json."""
    argument(text, "--schema-json")
    source = Source("--schema-json", text.encode())
    try:
        return Found(values.loads_exactly(source.data), source)
    except NotJSON as error:
        raise UsageFault(
            f"not JSON: {error}", place="--schema-json", fix="the name of a file goes to --schema"
        ) from error


def _stem(file: str) -> str:
    """`person` of `forms/person.schema.json`: what a person calls the file.

    Nothing of stdin and `/dev/fd/63`, whose number differs from call to call: the name is a part of
    the request, and a run finds its answers by that.
    """
    if file == STDIN or file.startswith(("/dev/", "/proc/")):
        return ""
    return file.rpartition("/")[2].lstrip(".").partition(".")[0]


def _name(wishes: Iterable[Value]) -> str:
    """The first wish that has letters for a name, the others made underscores."""
    for wish in wishes:
        text = wish if isinstance(wish, str) else ""
        spaced = "".join(letter if letter in NAME_LETTERS else " " for letter in text)
        if name := "_".join(spaced.split())[:LONGEST_NAME]:
            return name
    return _UNNAMED


def refuse_rivals(structure: Structure, parameters: Parameters) -> None:
    """Raise UsageFault where another option says what the form of the answer is."""
    option = structure.option
    if option is None:
        return
    rivals = [f"--{parameter.option}" for parameter, _ in parameters.given if parameter.path == (_FIELD,)]
    rivals += [
        f"--unset {edit.text}" if edit.remove else f"--set {edit.text}"
        for edit in parameters.edits
        if edit.path[:3] in _OURS
    ]
    if rivals:
        raise UsageFault(f"{option} and {rivals[0]} both set {_FIELD}", fix="choose one")


def refuse_choices(body: Mapping[str, Value], structure: Structure) -> None:
    """Raise UsageFault where an answer is to be sent back, but there are several."""
    if structure.reask and body.get("n") not in (None, 1):
        raise UsageFault(
            f"one answer can be sent back, not one of {body['n']}",
            place="--reask",
            fix="ask for one with -n 1",
        )
