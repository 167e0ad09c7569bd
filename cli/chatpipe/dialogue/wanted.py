"""What may follow an answer, as the options say it; what is named in them has been read."""

from typing import NamedTuple

from chatpipe.dialogue.options import Tooling
from chatpipe.request.form import Form


class Wanted(NamedTuple):
    """What the options say of turns: tools that are run, and a form that answers are to have."""

    tooling: Tooling = Tooling()
    form: Form | None = None
    reasks: int = 0

    @property
    def is_plain(self) -> bool:
        """The first answer is the last, and is judged by nothing but itself."""
        return self.form is None and not self.tooling.commands
