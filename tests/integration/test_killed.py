"""A publishing process ended by SIGKILL, for real, before, during and after each of its changes.

By default at some of the points, which differ in what is changed and when; ``make chaos`` takes every one.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from kill_points import MOMENTS, SCENARIOS, Kill

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
EVERY = 11
"""Not a multiple of the moments: so each of them is met."""


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_killed_anywhere_the_day_is_the_old_or_the_new_and_the_rerun_heals_it(
    scenario: str, pytestconfig: pytest.Config, record_property: Callable[[str, object], None]
) -> None:
    every = 1 if pytestconfig.getoption("every_fault") else EVERY
    program = [sys.executable, str(HERE / "kill_points.py"), "--scenario", scenario, "--every", str(every)]
    done = subprocess.run(
        program, cwd=ROOT, env={"PYTHONPATH": str(ROOT), "PATH": ""}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    first, *lines = map(json.loads, done.stdout.splitlines())
    kills = [Kill(**line) for line in lines]
    record_property("faults", len(kills))
    assert len(kills) == len({*range(0, first["points"], every), first["points"] - 1})
    # Each point was reached: the process said so, and was ended there by the signal.
    assert {(kill.reached, kill.killed_by) for kill in kills} == {(f"{kill.moment} {kill.change}", 9) for kill in kills}
    assert {kill.moment for kill in kills} == set(MOMENTS)
    assert [kill for kill in kills if kill.seen == "mixed"] == []
    assert [kill for kill in kills if not kill.healed] == []
    # The marker turns the one into the other: nothing before it does.
    assert kills[0].seen == "old"
    assert kills[-1].seen == "new"
    for kill in kills:
        if kill.change.startswith(("put _intents", "commit calls", "commit contacts", "put contacts")):
            assert kill.seen == "old", kill
        if kill.change.startswith("delete") and "_locks" not in kill.change:
            assert kill.seen == "new", kill
