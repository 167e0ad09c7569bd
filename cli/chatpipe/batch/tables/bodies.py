"""A request template with placeholders, and a row -> the request of that row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from chatpipe.batch.tables import template
from chatpipe.batch.tables.template import Placeholder, TextTemplate
from chatpipe.errors import BadInput
from chatpipe.inputs.sources import read_inside, refuse_missing_folder
from chatpipe.inputs.values import Value, as_list, json_type
from chatpipe.named_tuple import NamedTuple
from chatpipe.request import media
from chatpipe.request.build import BuiltRequest
from chatpipe.schema.check import Problem
from chatpipe.schema.refuse import fault_of, line_fault


class ImageField(NamedTuple):
    """The images of rows: field holds a path inside root, or a URL. Without a root, only URLs are accepted.

    detail is the `detail` of each image.
    """

    field: Placeholder
    root: str | None
    detail: str | None


class RowTemplate:
    """A template that makes the request of each row.

    Only texts from the command line, given by an option or by its file, can have placeholders. The
    messages of `--request` and `--messages` files are sent unchanged.
    """

    def __init__(
        self, built: BuiltRequest, images: ImageField | None = None, *, default_model: str | None = None
    ) -> None:
        """Raises BadInput for a text that cannot be parsed. default_model is used if built has no model."""
        self._options = built
        self._fields = {key: value for key, value in built.body.items() if key != "messages"}
        self._model = built.body.get("model", default_model)
        self._messages: list[Value] = as_list(built.body.get("messages"))
        self._texts = {
            index: _MessageTemplate(message, built, index)
            for index, message in enumerate(self._messages)
            if _is_template(message, built.origins.get(f"/messages/{index}"))
        }
        self._images = images

    @property
    def placeholders(self) -> Iterator[tuple[Placeholder, str]]:
        """Yield each placeholder with the option that contains it."""
        for message in self._texts.values():
            yield from ((each, message.option) for text in message.texts for each in text.placeholders)
        if self._images is not None:
            yield self._images.field, "--image-field"

    def body(self, fields: Mapping[str, Value]) -> dict[str, Value]:
        """The request body of a row. Raises MissingField, and BadInput without a place."""
        messages = self._messages.copy()
        for index, message in self._texts.items():
            messages[index] = message.fill(fields)
        if self._images is not None:
            _add_part(messages, _image(self._images, fields))
        # The model and the messages first, as in build: people read bodies, too.
        first = {} if self._model is None else {"model": self._model}
        return {**first, "messages": messages, **self._fields}

    def fault(self, problem: Problem) -> BadInput:
        """The error for a problem of the request of a row, of which options gave all but the messages."""
        is_of_messages = problem.pointer.split("/")[:2] in ([""], ["", "messages"])
        return line_fault(problem) if is_of_messages else fault_of(self._options, problem)


def read_image_field(field: str | None, root: str | None, detail: str | None) -> ImageField | None:
    """The images of `--image-field` and its companions; None without it. field may be a dotted path.

    Raises BadInput if field is not a valid name, and MissingInput if root does not exist.
    """
    if field is None:
        return None
    if root is not None:
        refuse_missing_folder(root, "--image-root")
    return ImageField(template.parse_placeholder(field, "--image-field"), root, detail)


class _MessageTemplate:
    """A message with placeholders. Its content is one text, or parts of which some are texts."""

    def __init__(self, message: Mapping[str, Value], built: BuiltRequest, index: int) -> None:
        pointer = f"/messages/{index}"
        self.option = str(built.origins[pointer])
        self._message = message
        content = message.get("content")
        self._text = template.parse_template(content, self.option) if isinstance(content, str) else None
        self._parts: dict[int, TextTemplate] = {}
        for at, part in enumerate(content if isinstance(content, list) else ()):
            # A part with an origin of its own is from another option: a document is not a template.
            text = part.get("text") if isinstance(part, dict) else None
            if isinstance(text, str) and f"{pointer}/content/{at}" not in built.origins:
                self._parts[at] = template.parse_template(text, self.option)

    @property
    def texts(self) -> tuple[TextTemplate, ...]:
        return (*self._parts.values(),) if self._text is None else (self._text,)

    def fill(self, fields: Mapping[str, Value]) -> dict[str, Value]:
        if self._text is not None:
            return {**self._message, "content": self._text.fill(fields)}
        parts = list(self._message["content"])
        for at, text in self._parts.items():
            parts[at] = {**parts[at], "text": text.fill(fields)}
        return {**self._message, "content": parts}


def _is_template(message: Value, origin: object) -> bool:
    """True if an option gave the text of a message. Tool results are not templates."""
    return isinstance(origin, str) and isinstance(message, dict) and message.get("role") != "tool"


def _add_part(messages: list[Value], part: Value) -> None:
    """Append a content part to the last user message, which is the template unless `--set` removed it."""
    users = [at for at, each in enumerate(messages) if isinstance(each, dict) and each.get("role") == "user"]
    if not users:
        messages.append({"role": "user", "content": [part]})
        return
    content = messages[users[-1]].get("content")
    existing = content if isinstance(content, list) else [{"type": "text", "text": content}]
    messages[users[-1]] = {**messages[users[-1]], "content": [*existing, part]}


def _image(images: ImageField, fields: Mapping[str, Value]) -> dict[str, Value]:
    name = images.field.value(fields)
    if not isinstance(name, str) or not name:
        what = "is empty" if name in ("", None) else f"is {json_type(name)}, not a path or URL"
        raise BadInput(f"field '{images.field.name}' {what}")
    image: dict[str, Value] = {"url": _url(name) if media.is_url(name) else _data_url(images, name)}
    if images.detail is not None:
        image["detail"] = images.detail
    return {"type": "image_url", "image_url": image}


def _url(url: str) -> str:
    if (fault := media.url_fault(url, is_image=True)) is not None:
        raise BadInput(fault.what, fix=fault.fix)
    return url


def _data_url(images: ImageField, name: str) -> str:
    if images.root is None:
        raise BadInput(f"'{name}' is not a URL", fix="name the directory of the files with --image-root DIR")
    return media.image_data_url(read_inside(images.root, name, media.MAX_BYTES), name)
