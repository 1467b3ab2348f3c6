"""Work in a process of its own: what ends that process, or takes too much memory, ends the work and nobody else.

Knows nothing of recordings or Spark. The process is a fork of this one, so that it begins with all that is loaded here;
it ends when this one does.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar

LOOK_S = 0.1
"""How often its memory is looked at."""

Result = TypeVar("Result")


class ProcessDied(Exception):
    """The process ended without an answer.

    Attributes
    ----------
    signal_number
        The signal that ended it; None where it ended otherwise.
    too_large
        Whether it was ended for its memory.
    """

    def __init__(self, exit_code: int | None, *, too_large: bool = False) -> None:
        self.signal_number = -exit_code if exit_code is not None and exit_code < 0 else None
        self.too_large = too_large
        super().__init__(_in_words(exit_code, too_large))


def in_own_process(work: Callable[[], Result], memory_mb: int) -> Result:
    """Do the work in a process of its own, and return what it returns.

    Parameters
    ----------
    work
        What it returns, or raises, has to be of a kind that can be pickled.
    memory_mb
        The resident memory above which the process is ended; not looked at where there is no /proc.

    Raises
    ------
    ProcessDied
        Where the process ended without an answer.
    """
    # By name: the default is another one on some systems, and will be everywhere.
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(sender, work), daemon=True)
    process.start()
    sender.close()
    too_large = False
    try:
        while not receiver.poll(LOOK_S):
            if not too_large and _resident_mb(process.pid) > memory_mb:
                too_large = True
                process.kill()
        result, error = receiver.recv()
    except (EOFError, OSError):
        process.join()
        raise ProcessDied(process.exitcode, too_large=too_large) from None
    finally:
        receiver.close()
        if process.is_alive():
            process.join()
    if error is not None:
        raise error
    answer: Result = result
    return answer


def end_at(seconds: int) -> None:
    """Let this process end by a signal, even out of native code, unless told otherwise before; 0 tells otherwise."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(seconds)


def _answer(sender: Connection[Any, Any], work: Callable[[], Any]) -> None:
    # What came with the fork stays: looking through it for garbage would copy its pages, too.
    gc.freeze()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        sender.send((work(), None))
    except Exception as error:
        sender.send((None, error))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None  # noqa: S101 - this runs in a process that multiprocessing made
    parent.join()
    os._exit(1)


def _resident_mb(process_id: int | None) -> float:
    try:
        pages = int(Path(f"/proc/{process_id}/statm").read_text(encoding="utf-8").split()[1])
    except (OSError, IndexError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _in_words(exit_code: int | None, too_large: bool) -> str:
    if too_large:
        return "was ended since it took too much memory"
    if exit_code is not None and exit_code < 0:
        return f"was ended by {signal.Signals(-exit_code).name}"
    return f"ended without an answer (exit status {exit_code})"
