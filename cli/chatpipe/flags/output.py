"""The options that say where the result goes, for every command that writes one."""

from __future__ import annotations

from chatpipe.errors import UsageFault
from chatpipe.flags.option_groups import option_group, under
from chatpipe.flags.types import FILE
from chatpipe.options.output import OutputOptions

option = under("Output")


def _read(
    output: str | None, if_changed: bool, depfile: str | None, depfile_target: str | None
) -> OutputOptions:
    target = OutputOptions(output, if_changed, depfile, depfile_target)
    if target.is_file:
        target = decided(target)
    if if_changed and not target.is_file:
        raise UsageFault(
            "there is no output file to leave alone", place="--if-changed", fix="use it with --output FILE"
        )
    if depfile_target is not None and depfile is None:
        raise UsageFault(
            "no make rule is written", place="--depfile-target", fix="use it with --depfile FILE"
        )
    if depfile is not None and not (depfile_target or target.is_file):
        raise UsageFault(
            "the make rule has no target", place="--depfile", fix="use --output FILE or --depfile-target NAME"
        )
    return target


def decided(target: OutputOptions) -> OutputOptions:
    """The options with a decision what the file is. Raises CannotWrite if that cannot be known."""
    from chatpipe.system import descriptor  # few calls name a file

    path = target.path or ""
    if descriptor.is_stdout(path):
        return target._replace(path="-")
    return target._replace(is_special=descriptor.is_special(path))


options = option_group(
    "output",
    [
        option(
            "--output", "-o", type=FILE, daily=True, help="Write to FILE; it changes only if the status is 0"
        ),
        option(
            "--if-changed", is_flag=True, help="Leave FILE and its time alone if its content stays the same"
        ),
        option("--depfile", "-M", type=FILE, help="Write a make rule that lists all input files to FILE"),
        option(
            "--depfile-target",
            metavar="NAME",
            default_text="the --output FILE",
            help="Target of the make rule",
        ),
    ],
    _read,
)
