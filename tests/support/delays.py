"""The delays after which the program reports that something takes long, in forks of the warm process.

On a slow machine anything may take long, so a fork reports it after a minute only. For as long two signals
that a test sends at once are one, and a server that closes a kept connection has had it idle. For other
delays a test sets the variable DELAYS in the environment of the process.
"""

from __future__ import annotations

import importlib

from support.patience import PATIENCE_S

VARIABLE = "DELAYS"
# The environment of a process that reports at once what may take long.
AT_ONCE = {VARIABLE: "at once"}
# The environment of a process that has the delays of the program.
AS_THEY_ARE = {VARIABLE: "as they are"}
# The environment of a process that ends before its bar comes.
NO_BAR = {VARIABLE: "no bar"}
_NOTICES = {
    "batch.session": "_NOTICE_AFTER_S",
    "inputs.stdin": "NOTICE_DELAY_S",
    "server.key_command": "_NOTE_AFTER_S",
    "system.lock": "NOTICE_DELAY_S",
    "system.slow_file": "NOTICE_DELAY_S",
}


def set_delays(wanted: str | None) -> None:
    """Set the delays of this process. wanted is the value of VARIABLE."""
    if wanted == AS_THEY_ARE[VARIABLE]:
        return
    for module, name in _NOTICES.items():
        _set(module, name, 0.0 if wanted == AT_ONCE[VARIABLE] else PATIENCE_S)
    _set("system.signals", "_REPEAT_S", PATIENCE_S)
    for module in ("wire.sync", "wire.connection"):
        _set(module, "STALE_CLOSE_S", PATIENCE_S)
    if wanted == NO_BAR[VARIABLE]:
        _set("batch.progress", "_DELAY_S", PATIENCE_S)


def _set(module: str, name: str, value: float) -> None:
    owner = importlib.import_module(f"chatpipe.{module}")
    assert hasattr(owner, name), f"{module} has no {name}"
    setattr(owner, name, value)
