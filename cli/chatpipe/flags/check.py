"""Options of the check before a request is sent."""

from chatpipe.errors import UsageFault
from chatpipe.flags.types import option_group, under
from chatpipe.options.check import CheckOptions

option = under("Diagnostics")


def _read(strict: bool, no_check: bool) -> CheckOptions:
    if strict and no_check:
        raise UsageFault("--strict and --no-check contradict each other", fix="choose one")
    return CheckOptions(strict, no_check)


options = option_group(
    "check",
    [
        option("--strict", is_flag=True, help="Treat warnings and unknown fields as errors"),
        option("--no-check", is_flag=True, help="Send the request without checking it"),
    ],
    _read,
)
