"""Work in a process of its own: what comes back, what it may die of, and that nothing of it is left."""

from __future__ import annotations

import faulthandler
import gc
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jobs.errors import StorageError
from jobs.own_process import ProcessDied, end_at, in_own_process

ROOT = Path(__file__).resolve().parent.parent.parent


def test_what_the_work_returns_comes_back_from_another_process() -> None:
    before = {"a": 1}
    process_id, found = in_own_process(lambda: (os.getpid(), {**before, "b": 2}), 4096)
    assert process_id != os.getpid()
    assert found == {"a": 1, "b": 2}


def test_what_came_with_the_fork_is_not_looked_through_for_garbage() -> None:
    assert in_own_process(gc.get_freeze_count, 4096) > 0
    assert gc.get_freeze_count() == 0


def test_what_the_work_raises_is_raised() -> None:
    def work() -> None:
        raise StorageError("no answer", "SlowDown")

    with pytest.raises(StorageError, match="no answer") as raised:
        in_own_process(work, 4096)
    assert raised.value.code == "SlowDown"


@pytest.fixture(autouse=True)
def quietly() -> Iterator[None]:
    """Without the stack that pytest would write of the processes that die."""
    enabled = faulthandler.is_enabled()
    faulthandler.disable()
    yield
    if enabled:
        faulthandler.enable()


def kill_itself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def run_into_nothing() -> None:
    import ctypes

    ctypes.string_at(0)


def take_too_long() -> None:
    end_at(1)
    time.sleep(60)


def take_memory() -> None:
    taken = []
    while True:
        taken.append(bytearray(16 * 2**20))
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("work", "signal_number", "says"),
    [
        (kill_itself, signal.SIGKILL, "was ended by SIGKILL"),
        (run_into_nothing, signal.SIGSEGV, "was ended by SIGSEGV"),
        (os.abort, signal.SIGABRT, "was ended by SIGABRT"),
        (lambda: os._exit(3), None, r"ended without an answer \(exit status 3\)"),
        (take_too_long, signal.SIGALRM, "was ended by SIGALRM"),
        (take_memory, signal.SIGKILL, "took too much memory"),
    ],
)
def test_what_ends_the_process_ends_nobody_else(
    work: Callable[[], object], signal_number: int | None, says: str
) -> None:
    # It begins with what the process of the tests has come to hold, which is a gigabyte after some thousands of them.
    held_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    with pytest.raises(ProcessDied, match=says) as died:
        in_own_process(work, held_mb + 512)
    assert died.value.signal_number == signal_number


def test_who_is_done_in_time_is_not_ended() -> None:
    def work() -> str:
        end_at(1)
        end_at(0)
        time.sleep(1.2)
        return "done"

    assert in_own_process(work, 4096) == "done"


def test_the_process_ends_with_its_parent() -> None:
    """Which Spark may kill for a task that another attempt of was quicker with."""
    program = (
        "import os, time\n"
        "from jobs.own_process import in_own_process\n"
        "in_own_process(lambda: (print(os.getpid(), flush=True), time.sleep(300)), 4096)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.kill()
    deadline = time.monotonic() + 20
    while is_alive(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_alive(child)


def is_alive(process_id: int) -> bool:
    try:
        return Path(f"/proc/{process_id}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
