"""A Ray cluster on this machine, in a process of its own: `with ray_cluster(3) as cluster`.

Its nodes can be killed and added. Its head has no CPU, so that there is a worker on each node only.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # it is a script, too
from support.process import environment

# Ray puts sockets into it, whose names may have 107 characters.
_SHORT = "/tmp"


class RayCluster:
    """A running cluster. folder is that of its session: logs, sockets, what is spilled."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self._process = process
        self.folder = folder
        self.env = {"RAY_AUTH_MODE": "disabled"}
        self.address = self._line()
        assert self.address, "the cluster does not start"

    def add(self) -> None:
        """Add a node with one CPU."""
        self._order("add")

    def kill(self) -> None:
        """Kill the oldest node that is left."""
        self._order("kill")

    def fill(self) -> None:
        """Let an actor of somebody else hold the CPU of each node."""
        self._order("fill")

    @contextmanager
    def silent_head(self) -> Iterator[None]:
        """A block in which the head answers nothing."""
        heads = [pid for pid in map(int, filter(str.isdecimal, os.listdir("/proc"))) if self._is_head(pid)]
        assert len(heads) == 1
        os.kill(heads[0], signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(heads[0], signal.SIGCONT)

    def _is_head(self, pid: int) -> bool:
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:  # it has ended
            return False
        return words.partition(b"\0")[0].endswith(b"/gcs_server") and bytes(self.folder) in words

    def _order(self, word: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{word}\n")
        self._process.stdin.flush()
        assert self._line() == word

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


@contextmanager
def ray_cluster(nodes: int, env: Mapping[str, str] | None = None) -> Iterator[RayCluster]:
    """A cluster with this number of nodes, whose workers have env in their environment."""
    own = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled", "RAY_DEDUP_LOGS": "0"}
    with tempfile.TemporaryDirectory(prefix="ray-", dir=_SHORT, ignore_cleanup_errors=True) as folder:
        process = subprocess.Popen(
            [sys.executable, __file__, str(nodes)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment({**own, "RAY_TMPDIR": folder, **(env or {})}),
        )
        try:
            yield RayCluster(process, Path(folder))
        finally:
            process.communicate()  # the end of its stdin ends it


def fill(address: str, count: int) -> None:
    """Start as many actors as there are CPUs. They hold one each until the cluster ends."""
    import ray

    class Holder:
        def is_there(self) -> bool:
            return True

    ray.init(address=address, log_to_driver=False, configure_logging=False)
    holders = [ray.remote(Holder).options(num_cpus=1, lifetime="detached").remote() for _ in range(count)]
    assert all(ray.get([each.is_there.remote() for each in holders]))
    assert not ray.available_resources().get("CPU")


def main() -> None:
    """Run a cluster until the end of stdin. Orders come as lines, and are repeated when they are done."""
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 0, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    nodes = [cluster.add_node(num_cpus=1) for _ in range(int(sys.argv[1]))]
    print(cluster.address, flush=True)
    for line in sys.stdin:
        if line.strip() == "add":
            nodes.append(cluster.add_node(num_cpus=1))
        elif line.strip() == "fill":
            fill(cluster.address, len(nodes))
        else:
            cluster.remove_node(nodes.pop(0), allow_graceful=False)
        print(line.strip(), flush=True)
    cluster.shutdown()
    os._exit(0)


if __name__ == "__main__":
    main()
