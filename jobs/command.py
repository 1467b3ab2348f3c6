"""What the commands share, whether they are a step of a night or not: days and names as arguments, and how they end."""

from __future__ import annotations

import argparse
import io
import os
import re
import sys
from collections.abc import Callable
from datetime import date
from typing import NoReturn

from jobs.layouts import YEARS

EXIT_PERMANENT = 2
EXIT_TRANSIENT = 75  # EX_TEMPFAIL of sysexits.h
EXIT_INTERRUPTED = 130  # as a shell says of what Ctrl-C ended


def exit_status(*, permanent: bool) -> int:
    """With what a command ends that failed: whether another try may help."""
    return EXIT_PERMANENT if permanent else EXIT_TRANSIENT


def call_date(text: str) -> date:
    """Read a call date that was given as an argument."""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no date; expected YYYY-MM-DD") from None
    if day.year not in YEARS:
        raise argparse.ArgumentTypeError(f"{day} is no day of a call; expected one of {YEARS[0]} to {YEARS[-1]}")
    return day


def run_name(text: str) -> str:
    """A name that may become part of a path."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no name; expected up to 64 letters, digits, '.', '_' and '-'")
    return text


def run_command(main: Callable[[], int]) -> NoReturn:
    """End this process as a command's ``main`` says, and in one line, not a traceback, where it was stopped.

    Whoever reads the answer may stop early, as ``head`` does: then nothing is said. What the terminal has no letter for
    is written as its escape.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        status = main()
        sys.stdout.flush()
    except KeyboardInterrupt:
        sys.stderr.write("stopped\n")
        status = EXIT_INTERRUPTED
    except BrokenPipeError:
        # What is still to be written at the end has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = EXIT_PERMANENT
    sys.exit(status)
