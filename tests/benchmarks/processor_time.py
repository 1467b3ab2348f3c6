"""Runs a command and writes what processor time it took, with all that it started and whatever outlived it.

``python -m tests.benchmarks.processor_time FILE COMMAND...``. On a machine that others use, too, this is nearer to what
work costs than the time on the wall. The kernel's own sums lack Spark's Python workers, whose parent ignores their end;
so the processes are looked at while they run. A JVM outlives the Python process that started it: this one takes over
orphans (Linux: PR_SET_CHILD_SUBREAPER) and waits for all of them.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
EVERY_S = 0.1
TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


def main() -> int:
    """Run the command; its exit status."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    process = subprocess.Popen(sys.argv[2:])
    used: dict[int, float] = {}
    while running := list(_descendants(os.getpid())):
        for pid in running:
            used[pid] = max(used.get(pid, 0.0), _processor_s(pid))
        process.poll()
        with suppress(ChildProcessError):
            _reap_orphans(process.pid)
        time.sleep(EVERY_S)
    Path(sys.argv[1]).write_text(str(sum(used.values())))
    return process.wait()


def _descendants(pid: int) -> Iterator[int]:
    with suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            for child in map(int, (thread / "children").read_text().split()):
                yield child
                yield from _descendants(child)


def _processor_s(pid: int) -> float:
    """Seconds that a process ran for itself, without its children; 0 where it has gone."""
    with suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS_A_SECOND
    return 0.0


def _reap_orphans(but: int) -> None:
    """Let orphans that have ended go; the command itself is its object's to wait for."""
    while (ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) is not None and ended.si_pid != but:
        os.waitpid(ended.si_pid, 0)


if __name__ == "__main__":
    sys.exit(main())
