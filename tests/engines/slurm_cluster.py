"""A Slurm cluster of one node on this machine, with its own key and ports, in a temporary folder.

Its daemons are Debian's, and they run as root: the jobs of a node belong to whoever submits them.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from support.process import environment
from support.programs import missing, program

_PATIENCE_S = 60.0  # for what takes a second or two on a machine that has nothing else to do
_ENDED = {"COMPLETED", "FAILED", "CANCELLED"}
_CONFIGURATION = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
SlurmctldPort={controller_port}
SlurmdPort={node_port}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=bf_interval=1,sched_interval=1
ReturnToService=2
# More CPUs than the machine has: a task of ours waits for answers, most of the time.
SlurmdParameters=config_overrides
NodeName={host} NodeAddr=127.0.0.1 CPUs=8 State=UNKNOWN
PartitionName=main Nodes={host} Default=YES State=UP
"""


class SlurmCluster:
    """A running cluster: its commands, in the environment that chatpipe has in tests."""

    def __init__(self, configuration: Path) -> None:
        self._configuration = configuration
        self._queued_again: dict[str, float] = {}  # when this was seen first, by the number of a task

    def command(self, *words: str, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> str:
        """What a command of Slurm's prints, which has to succeed."""
        variables = environment({"SLURM_CONF": str(self._configuration), **(env or {})})
        done = subprocess.run(
            words, cwd=cwd, env=variables, capture_output=True, text=True, timeout=_PATIENCE_S, check=False
        )
        assert done.returncode == 0, f"{words}: {done.stderr}"
        return done.stdout.strip()

    def submit(self, script: Path, *options: str, env: Mapping[str, str] | None = None) -> str:
        """Submit a script from its folder. The number of the job; its tasks get env, too."""
        return self.command("sbatch", "--parsable", *options, script.name, cwd=script.parent, env=env)

    def wait(self, job: str) -> None:
        """Until all tasks of a job have ended. One that is queued again waits two seconds, not two minutes.

        In the same second the node would take its credential for that of the run before.
        """
        until(lambda: self._states(job) <= _ENDED)

    def restarts(self, job: str) -> int:
        """How often tasks of a job were queued again.

        The output of a task does not tell: Slurm writes "JOB REQUEUE" only if the script still runs
        when its daemon hears of it.
        """
        return sum(map(int, re.findall(r"\bRestarts=(\d+)", self.command("scontrol", "show", "job", job))))

    def cancel_all(self) -> None:
        """Let no process of a job outlive the cluster."""
        self.command("scancel", "--signal=KILL", "--full", "--partition=main")
        self.command("scancel", "--partition=main")
        until(lambda: not self.command("squeue", "--noheader"))

    def _states(self, job: str) -> set[str]:
        """The states of the tasks of a job."""
        listed = self.command(
            "squeue", "--noheader", "--array", "--states=all", "--format=%i %T %r", f"--jobs={job}"
        )
        tasks = [line.split(maxsplit=2) for line in listed.splitlines()]
        now = time.monotonic()
        for number, _state, reason in tasks:
            if reason != "BeginTime":
                self._queued_again.pop(number, None)
            elif now - self._queued_again.setdefault(number, now) > 2:
                self.command("scontrol", "update", f"JobId={number}", "StartTime=now")
        return {state for _number, state, _reason in tasks}


def until(condition: Callable[[], bool]) -> None:
    """Wait until condition() is true, 20 looks a second."""
    end = time.monotonic() + _PATIENCE_S
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError("what the test waits for did not happen")
        time.sleep(0.05)


@contextlib.contextmanager
def slurm_cluster() -> Iterator[SlurmCluster]:
    """A cluster that takes jobs, until the end of the `with`."""
    munged, slurmctld, slurmd = (_daemon(name) for name in ("munged", "slurmctld", "slurmd"))
    program("sbatch")
    if os.geteuid() != 0:
        missing("Slurm's daemons need root here")
    host = socket.gethostname().partition(".")[0]
    with tempfile.TemporaryDirectory(prefix="slurm-") as name, contextlib.ExitStack() as daemons:
        folder = Path(name)
        controller_port, node_port = _free_ports()
        configuration = folder / "slurm.conf"
        configuration.write_text(
            _CONFIGURATION.format(
                host=host, folder=folder, controller_port=controller_port, node_port=node_port
            )
        )
        key = folder / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        folder.chmod(0o755)  # munged wants all users to reach its socket
        files = {
            name: folder / f"munge.{name.removesuffix('-file')}"
            for name in ("key-file", "pid-file", "seed-file", "socket")
        }
        options = [f"--{option}={path}" for option, path in files.items()]
        daemons.enter_context(_running(folder, munged, "--foreground", "--force", *options))
        with _start_of(folder):
            until((folder / "munge.socket").exists)
            for daemon in (slurmctld, slurmd):
                daemons.enter_context(_running(folder, daemon, "-D", "-f", str(configuration)))
            until(lambda: _is_idle(configuration))
        cluster = SlurmCluster(configuration)
        try:
            yield cluster
        finally:
            cluster.cancel_all()


@contextlib.contextmanager
def _start_of(folder: Path) -> Iterator[None]:
    """Skip the test, with what the daemons say, on a machine that does not let them start.

    Some containers do not: Slurm wants a host name with an address, and processes of its own.
    """
    try:
        yield
    except TimeoutError:
        said = (path.read_text(errors="replace").strip() for path in sorted(folder.glob("*.out")))
        pytest.skip("Slurm does not start here: " + " | ".join(text[-300:] for text in said if text))


def _daemon(name: str) -> str:
    """Its path. Those of Debian are in /usr/sbin, which is not on everybody's PATH."""
    path = Path("/usr/sbin") / name
    return str(path) if path.exists() else program(name)


def _free_ports() -> tuple[int, int]:
    with socket.socket() as first, socket.socket() as second:
        for each in (first, second):
            each.bind(("127.0.0.1", 0))
        return first.getsockname()[1], second.getsockname()[1]


@contextlib.contextmanager
def _running(folder: Path, *command: str) -> Iterator[None]:
    """A daemon in the foreground, which writes what it says into the folder."""
    said = folder / f"{Path(command[0]).name}.out"
    with (
        said.open("wb") as output,
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment()
        ) as daemon,
    ):
        try:
            yield
        finally:
            daemon.terminate()
            try:
                daemon.wait(timeout=10)
            except subprocess.TimeoutExpired:
                daemon.kill()


def _is_idle(configuration: Path) -> bool:
    """Whether the node is there. The controller is asked before it listens, too."""
    done = subprocess.run(
        ["sinfo", "--noheader", "--format=%T"],
        env=environment({"SLURM_CONF": str(configuration)}),
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() == "idle"
