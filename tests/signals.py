"""Signals of processes that tests start."""

from __future__ import annotations

import signal


def heed() -> None:
    """For Popen's preexec_fn: heed what the tests' own shell may ignore, as under nohup or in the background."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
