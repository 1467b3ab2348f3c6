"""The model of costs and of very large nights: its arithmetic, what its page says, and that the page is current."""

from __future__ import annotations

import json
from typing import Any

import pytest

from infra.aws import costs
from infra.aws.costs import PARTITION_MB, SPREAD, Measured, Night
from jobs.settings import ROOT

STEPS = ("plan_recordings", *SPREAD, "validate_tables", "publish_tables", "render_report")


def result(**hour_s: float) -> dict[str, Any]:
    """What `make bench` would have measured: ten seconds a step, and so many more a call hour."""
    nights = [
        {"call_hours": hours, "seconds": {step: 10 + hour_s.get(step, 0.0) * hours for step in STEPS}}
        for hours in (1.0, 4.0, 16.0)
    ]
    return {
        "nights_on_one_core": nights,
        "planning_s": 5.0,
        "planned_objects": 50_000,
        "measured_on": "2026-11-22",
        "processor": "one",
    }


@pytest.fixture
def measured() -> Measured:
    """A core that extracts in 2 s a call hour, classifies in 1 and summarizes in 0.6; validating takes 0.1."""
    return Measured.of(result(extract_features=2.0, classify_emotions=1.0, summarize_calls=0.6, validate_tables=0.1))


def test_a_line_is_fitted_to_each_step(measured: Measured) -> None:
    assert measured.fixed_s == pytest.approx(dict.fromkeys(STEPS, 10.0))
    assert measured.hour_s["extract_features"] == pytest.approx(2.0)
    assert measured.hour_s["publish_tables"] == pytest.approx(0.0)
    assert measured.planned_object_s == pytest.approx(1e-4)


def test_what_a_night_computes_and_costs(measured: Measured) -> None:
    night = Night(12_000, measured)  # of five minutes each
    assert night.hours == pytest.approx(1000)
    assert night.core_hours == pytest.approx(1.0)
    core_usd, driver_usd = 0.052624 + 3 * 0.0057785, 2 * 0.052624 + 5 * 0.0057785
    assert night.emr_usd() == pytest.approx(core_usd + driver_usd / 64 + (4 * core_usd + driver_usd) * 30 / 3600)
    assert night.ec2_usd() == pytest.approx(0.714 * (1 / 16 + 30 / 3600))
    assert night.others_usd() == pytest.approx({"Contact Lens": 900.0, "Transcribe": 1800.0, "Azure": 228.0})
    assert night.files(64) == 1800
    assert night.s3_usd(64) == pytest.approx((12_000 + 4 * 5400) / 1000 * 0.0004 + 5400 * 4 / 1000 * 0.005)


def test_more_cores_shorten_what_spark_spreads_alone(measured: Measured) -> None:
    night = Night(12_000, measured)
    ten, forty = night.durations_s(10, 1024), night.durations_s(40, 1024)
    for step in SPREAD:
        assert ten[step] - 10 == pytest.approx(4 * (forty[step] - 10))
    alike = set(ten) - set(SPREAD)
    assert {name: ten[name] for name in alike} == {name: forty[name] for name in alike}
    assert ten["validate_tables"] == pytest.approx(110)


def test_tasks_that_the_driver_cannot_start_fast_enough_set_the_pace(measured: Measured) -> None:
    night = Night(12_000, measured)
    assert night.durations_s(10_000, 64)["extract_features"] == pytest.approx(10 + 1800 / 200)
    assert night.loads(500, 64)["tasks started by the driver, 200 a second"] == pytest.approx(1800 / 4 / 200)


# The page


@pytest.fixture(scope="module")
def million() -> Night:
    latest = json.loads((ROOT / "docs" / "benchmarks" / "latest.json").read_text())
    return Night(1_000_000, Measured.of(latest))


def test_the_page_is_current(million: Night) -> None:
    written = (ROOT / "docs" / "costs.md").read_text()
    assert written == costs.page(million.measured), "run: python -m infra.aws.costs > docs/costs.md"


def test_what_the_page_says_breaks_first_does(million: Night) -> None:
    """By what was measured last: where this fails after `make bench`, the words of the page are to be changed."""

    for cores, most in ((50, True), (200, False)):
        took = million.durations_s(cores, PARTITION_MB)
        assert (sum(took[step] for step in SPREAD) > sum(took.values()) / 2) == most
    of_files = sum(seconds for name, seconds in took.items() if "file" in name)
    assert of_files == max(seconds for name, seconds in took.items() if name not in SPREAD)
    assert of_files > million.durations_s(200, 1024)["publish: files are checked and copied"]
    assert max(million.loads(200, PARTITION_MB).values()) < 1
