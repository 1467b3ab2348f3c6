"""Processes that outlive whoever started them: started, told apart, and ended with all that they started.

Reads Linux's /proc. A process is known by its id and its start, so that another one that was given the id later is
never taken for it. Knows nothing of what the processes do.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
MARK = "CALLMOOD_STACK_FOLDER"
"""The variable by which a process whose starter is gone is known as a stack's: its folder."""
STOP_S = 30.0
POLL_S = 0.2


@dataclass(frozen=True)
class Started:
    """A process that was started.

    Attributes
    ----------
    pid
        Its id, which is its session's and its group's, too.
    start
        The machine's start and, in clock ticks after it, the process's.
    """

    pid: int
    start: str


@dataclass(frozen=True)
class _Process:
    parent: int
    group: int
    session: int
    start: str


def start(command: Sequence[str], folder: Path, environment: Mapping[str, str], log_file: Path) -> Started:
    """Start a process in a session of its own, in the stack's folder, its output appended to a file."""
    with log_file.open("ab") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**environment, MARK: str(folder)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    found = _process(process.pid)
    # One that has ended already is still in the table, since nobody has waited for it.
    assert found is not None  # noqa: S101
    return Started(process.pid, found.start)


def is_running(started: Started) -> bool:
    """Whether the process is there and has not ended."""
    found = _process(started.pid)
    return found is not None and found.start == started.start and _state(started.pid) != "Z"


def end(all_started: Collection[Started], folder: Path) -> int:
    """End processes and whatever they started, first asking them alone, then all, then without asking.

    Parameters
    ----------
    all_started
        What `start` returned; processes that are gone are no error.
    folder
        The stack's folder, as given to `start`.

    Returns
    -------
    How many had to be ended without asking.
    """
    doomed: dict[int, str] = {}
    asked = {each.pid: each.start for each in all_started if is_running(each)}
    _find(all_started, folder, doomed)
    _send(signal.SIGTERM, asked)
    deadline = time.monotonic() + STOP_S
    while any(_is(pid, start_) for pid, start_ in asked.items()) and time.monotonic() < deadline:
        time.sleep(POLL_S)
        _find(all_started, folder, doomed)
    for number in (signal.SIGTERM, signal.SIGKILL):
        _find(all_started, folder, doomed)
        n_left = len(doomed)
        _send(number, doomed)
        deadline = time.monotonic() + STOP_S / 3
        while doomed and time.monotonic() < deadline:
            time.sleep(POLL_S)
            _find(all_started, folder, doomed)
        if not doomed:
            break
    return n_left if number == signal.SIGKILL else 0


def _send(number: signal.Signals, targets: Mapping[int, str]) -> None:
    for pid, start_ in targets.items():
        if _is(pid, start_):
            with suppress(ProcessLookupError):
                os.kill(pid, number)


def _find(all_started: Collection[Started], folder: Path, doomed: dict[int, str]) -> None:
    """Add to the doomed who belongs to them by now, and leave out who is gone."""
    table = {
        int(entry.name): found
        for entry in PROC.iterdir()
        if entry.name.isdigit() and (found := _process(int(entry.name)))
    }
    for each in all_started:
        leader = table.get(each.pid)
        if leader is not None and leader.start == each.start:
            doomed[each.pid] = each.start
        elif leader is None:
            # Its session may have outlived it; what is in it must show by itself whose it is.
            orphans = (pid for pid, found in table.items() if each.pid in (found.session, found.group))
            doomed |= {pid: table[pid].start for pid in orphans if _is_of(pid, folder)}
    grown = True
    while grown:
        members = {
            pid: found.start
            for pid, found in table.items()
            if pid not in doomed and {found.parent, found.session, found.group} & doomed.keys()
        }
        doomed |= members
        grown = bool(members)
    for pid in [pid for pid, start_ in doomed.items() if not _is(pid, start_)]:
        del doomed[pid]


def _is(pid: int, start_: str) -> bool:
    return is_running(Started(pid, start_))


def _is_of(pid: int, folder: Path) -> bool:
    """Whether a process shows that it is the stack's: by its variables or, where a title hides them, by its folder."""
    try:
        if f"{MARK}={folder}".encode() in (PROC / str(pid) / "environ").read_bytes().split(b"\0"):
            return True
        return (PROC / str(pid) / "cwd").readlink() == folder
    except OSError:
        return False


def _fields(pid: int) -> list[str] | None:
    try:
        return (PROC / str(pid) / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return None


def _state(pid: int) -> str:
    fields = _fields(pid)
    return "Z" if fields is None else fields[0]


def _process(pid: int) -> _Process | None:
    fields = _fields(pid)
    if fields is None:
        return None
    booted = (PROC / "sys" / "kernel" / "random" / "boot_id").read_text(encoding="utf-8").strip()
    return _Process(int(fields[1]), int(fields[2]), int(fields[3]), f"{booted}/{fields[19]}")
