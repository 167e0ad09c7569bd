"""The processes that a relay has started: which there are, which have ended, and their end."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from chatpipe.cluster.own_processes import own_children
from support.patience import until
from support.process import has_ended

pytestmark = pytest.mark.skipif(not os.path.isdir("/proc"), reason="there is no /proc")

# A process with a child and a grandchild, whose number it prints.
PARENT = """
import subprocess, sys
from chatpipe.cluster.own_processes import end_descendants
child = subprocess.Popen(["sh", "-c", "sleep 60 & echo $!; wait"], stdout=subprocess.PIPE, text=True)
print(child.stdout.readline().strip(), flush=True)
end_descendants()
child.wait()
"""
CHILDLESS = "from chatpipe.cluster.own_processes import end_descendants; end_descendants()"


def test_a_child_is_known_by_its_name_until_it_is_waited_for() -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        until(lambda: own_children()[child.pid].name == "sleep")  # before, it is a copy of this process
        assert not own_children()[child.pid].has_ended
        child.kill()
        until(lambda: own_children()[child.pid].has_ended)
    assert child.pid not in own_children()


def test_a_process_ends_what_its_children_have_started() -> None:
    done = subprocess.run([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, check=True)
    until(lambda: has_ended(int(done.stdout)))


def test_nothing_is_ended_where_nothing_was_started() -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        subprocess.run(
            [sys.executable, "-c", PARENT.partition("child =")[0] + "end_descendants()"], check=True
        )
        assert child.poll() is None
        child.kill()
