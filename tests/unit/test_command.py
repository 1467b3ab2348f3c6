"""What the commands share: which days and names they take, and how they end."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from datetime import date

import pytest

from jobs.command import call_date, run_name
from jobs.settings import ROOT
from reporting.periods import Period


@pytest.mark.parametrize("day", [date(2000, 1, 1), date(2026, 11, 20), date(2100, 12, 31)])
def test_a_call_date(day: date) -> None:
    assert call_date(day.isoformat()) == day


@pytest.mark.parametrize(
    "wrong", ["", "yesterday", "2026-13-01", "1999-12-31", "2101-01-01", "0001-01-01", "9999-12-31"]
)
def test_what_is_no_call_date(wrong: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="expected"):
        call_date(wrong)


@pytest.mark.parametrize("wrong", ["", ".", "../run", "a b", "x" * 65, "-run", "n\u00fcn"])
def test_what_cannot_be_a_runs_name(wrong: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="is no name"):
        run_name(wrong)


@pytest.mark.parametrize("kind", ["week", "month"])
@pytest.mark.parametrize(
    "wrong", ["", "2026", "2026-W00", "2026-W54", "2026-00", "2026-13", "0001-01", "9999-12", "9999-W52"]
)
def test_what_is_no_period(kind: str, wrong: str) -> None:
    with pytest.raises(ValueError, match=f"is no {kind}; expected YYYY-"):
        Period.parse(kind, wrong)


@pytest.mark.parametrize(
    ("main", "status", "says"),
    [
        ("lambda: 75", 75, ""),
        ("lambda: signal.raise_signal(signal.SIGINT)", 130, "stopped\n"),
        # More than a pipe holds, to a reader that has gone.
        ("lambda: print('x' * 10**6)", 2, ""),
    ],
)
def test_how_a_command_ends(main: str, status: int, says: str) -> None:
    code = f"import signal; from jobs.command import run_command; run_command({main})"
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        said = process.stderr.read()
    assert (process.returncode, said) == (status, says)


def test_what_the_terminal_has_no_letter_for_is_escaped() -> None:
    code = "from jobs.command import run_command; run_command(lambda: print('M\u00fcnchen') or 0)"
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert (found.returncode, found.stdout) == (0, "M\\xfcnchen\n")
