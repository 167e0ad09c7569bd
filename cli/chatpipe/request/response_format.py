"""`--schema` and its companions -> the required form of the answer: the schema, and how it is sent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from chatpipe.errors import BadInput, UsageFault
from chatpipe.inputs import messages, values
from chatpipe.inputs.messages import LocatedValue
from chatpipe.inputs.place import Source
from chatpipe.inputs.sources import Sources
from chatpipe.inputs.stdin import STDIN
from chatpipe.inputs.values import NotJSON, Value, json_type
from chatpipe.named_tuple import NamedTuple
from chatpipe.options.parameters import Parameters
from chatpipe.options.prompt import utf8_argument
from chatpipe.options.structured_output import MAX_NAME_LENGTH, NAME_CHARACTERS, SchemaOptions

_DEFAULT_NAME = "answer"
_FIELD = "response_format"
# The paths that these options set. --set may still add others, such as a description.
_OWN_PATHS = {
    (_FIELD,),
    (_FIELD, "type"),
    (_FIELD, "json_schema"),
    *((_FIELD, "json_schema", key) for key in ("name", "schema", "strict")),
}


class ResponseFormat(NamedTuple):
    """The required form of an answer: a schema with its location, and the option that gave it."""

    option: str
    name: str
    schema: LocatedValue
    strict: bool

    @property
    def field(self) -> dict[str, Value]:
        """The `response_format` field of a request."""
        json_schema = {"name": self.name, "schema": self.schema.value, "strict": self.strict}
        return {"type": "json_schema", "json_schema": json_schema}

    @property
    def origin(self) -> LocatedValue | str:
        """The origin of the schema: the file, which has lines, or the option, which has none."""
        return self.schema if self.option == "--schema" else self.option

    def place(self, pointer: str = "") -> str:
        """`file:line` of the value at pointer in the schema, or the option that holds it."""
        return self.origin if isinstance(self.origin, str) else self.origin.place(pointer)


def read(structure: SchemaOptions, sources: Sources) -> ResponseFormat | None:
    """Read the required form; None if there is none. Raises UsageFault, BadInput, MissingInput."""
    if structure.file is not None:
        schema = messages.parse_document(sources.read(structure.file, "--schema"))
        stem = _stem(structure.file)
    elif structure.text is not None:
        schema = _parse(structure.text)
        stem = ""
    elif structure.fields is not None:
        from chatpipe.request import schema_fields  # few requests describe their answer so

        fields = schema_fields.parse_fields(utf8_argument(structure.fields, schema_fields.OPTION))
        schema = LocatedValue(fields, Source(schema_fields.OPTION, b""))
        stem = ""
    else:
        return None
    form = ResponseFormat(structure.option or "", "", schema, structure.strict)
    if not isinstance(schema.value, dict):
        raise BadInput(
            f"a schema to ask with is an object, not {json_type(schema.value)}", place=form.place()
        )
    return form._replace(name=structure.name or _name((schema.value.get("title"), stem)))


def _parse(text: str) -> LocatedValue:
    """Parse the value of --schema-json. Raises BadInput, UsageFault."""
    source = Source("--schema-json", utf8_argument(text, "--schema-json").encode())
    try:
        return LocatedValue(values.loads_strict(source.data), source)
    except NotJSON as error:
        raise UsageFault(
            f"not JSON: {error}", place="--schema-json", fix="the name of a file goes to --schema"
        ) from error


def _stem(file: str) -> str:
    """The base name of a schema file without suffixes: `person` for `forms/person.schema.json`.

    It is empty for stdin and for `/dev/fd/63`. Such a number differs between calls, and the name is part of
    the request, by which recorded answers are found.
    """
    if file == STDIN or file.startswith(("/dev/", "/proc/")):
        return ""
    return file.rpartition("/")[2].lstrip(".").partition(".")[0]


def _name(candidates: Iterable[Value]) -> str:
    """The first candidate with valid characters. Underscores replace other characters between them."""
    for candidate in candidates:
        text = candidate if isinstance(candidate, str) else ""
        spaced = "".join(character if character in NAME_CHARACTERS else " " for character in text)
        if name := "_".join(spaced.split())[:MAX_NAME_LENGTH]:
            return name
    return _DEFAULT_NAME


def refuse_format_conflicts(structure: SchemaOptions, parameters: Parameters) -> None:
    """Raise UsageFault if another option also sets the form of the answer."""
    option = structure.option
    if option is None:
        return
    conflicts = [f"--{parameter.option}" for parameter, _ in parameters.values if parameter.path == (_FIELD,)]
    conflicts += [
        f"--unset {edit.text}" if edit.is_removal else f"--set {edit.text}"
        for edit in parameters.edits
        if edit.path[:3] in _OWN_PATHS
    ]
    if conflicts:
        raise UsageFault(f"{option} and {conflicts[0]} both set {_FIELD}", fix="choose one")


def refuse_several_choices(body: Mapping[str, Value], structure: SchemaOptions) -> None:
    """Raise UsageFault if --reask is combined with several choices."""
    if structure.reask and body.get("n") not in (None, 1):
        raise UsageFault(
            f"one answer can be sent back, not {body['n']}",
            place="--reask",
            fix="ask for one with -n 1",
        )
