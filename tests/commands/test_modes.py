"""The mode of each file that a run makes, as FILES of chatpipe(1) has it."""

from __future__ import annotations

import stat
from pathlib import Path

from support.process import sh


def test_outputs_follow_the_umask_and_what_is_kept_is_private(tmp_path: Path) -> None:
    done = sh(
        "umask 027; "
        "chatpipe ask -p echo hi -o out -M out.d --transcript talk --record taken --pace-file pace --rpm 9; "
        "echo '\"hi\"' | chatpipe batch - -p echo -o results --errors errors --report report --keep-journal",
        cwd=tmp_path,
    )
    assert done.status == 0
    assert {path.name: oct(stat.S_IMODE(path.stat().st_mode)) for path in tmp_path.iterdir()} == {
        **dict.fromkeys(["out", "out.d", "taken", "results", "results.journal", "errors", "report"], "0o640"),
        **dict.fromkeys(["talk", "pace"], "0o600"),
    }
