"""The command of chatpipe-engines(7) for GNU parallel, over hosts that are this machine by another way."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from batch.resuming import Shop, texts
from manual import pages
from manual.test_engines_page import PAGE
from parametrize import cases
from process import sh
from programs import program

PROMPTS = [f"p{number}" for number in range(12)]
# Like ssh, it takes a host behind options, joins the words of the command, and passes no environment on.
SSH = """\
#!/bin/sh
while case $1 in -*) true ;; *) false ;; esac; do shift; done
echo "$1" >>"{folder}/hosts"
shift
[ "$1" != -- ] || shift
exec env -i HOME="{folder}/home" PATH="$PATH" SHELL=/bin/sh sh -c "$*"
"""


@cases("hosts", {"two hosts": {"node1", "node2"}, "this machine": set()})
def test_same_command_runs_again_what_has_failed(hosts: set[str], tmp_path: Path) -> None:
    program("parallel")
    for name in ("home", "commands"):
        (tmp_path / name).mkdir()
    ssh = tmp_path / "commands" / "ssh"
    ssh.write_text(SSH.format(folder=tmp_path))
    ssh.chmod(0o755)
    (tmp_path / "hosts").touch()
    (tmp_path / "key").write_text("sk-canary")
    command = re.sub("([/ ])16", r"\g<1>4", pages.display(PAGE, "parallel -S"))  # four shards do
    gather = pages.display(PAGE, "chatpipe batch in.jsonl --reuse")
    if not hosts:
        here, pace = re.findall(
            r"^\.Ql (parallel .*?|.*--pace-file .*?)(?: \.)?$", pages.plain(pages.source(PAGE)), re.MULTILINE
        )
        command = re.sub(r"^parallel .*--retries 3", here, command).replace("--rpm 60", pace)
        assert "-S" not in command
    with Shop(tmp_path) as shop:
        shop.write(*PROMPTS)
        shop.refused = {"p3"}
        server = f"chatpipe batch --base-url {shop.server.url} -m m"
        command = re.sub(r"--rpm \d+", "--retries 0 --rpm 9600", command).replace("chatpipe batch", server)
        gather = gather.replace("chatpipe batch", server)
        run = f'PATH="{tmp_path}/commands:$PATH"\n{command}'
        assert sh(run, cwd=tmp_path, timeout=100).status == 1  # the number of tasks that failed
        assert sh(gather, cwd=tmp_path).status == 1
        shop.refused.clear()
        assert sh(run, cwd=tmp_path, timeout=100).status == 0
        assert sh(gather, cwd=tmp_path) == (0, b"", b"")
    sales = Counter(shop.sales)
    assert [text.partition(" ")[0] for text in texts(shop.out) if text is not None] == PROMPTS
    assert sales == {**dict.fromkeys(PROMPTS, 1), "p3": 4}
    assert set((tmp_path / "hosts").read_text().split()) == hosts
