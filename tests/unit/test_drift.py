"""Drift: the index against its definition, what chance does, small days, changes of the model, what a page says."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from made_up_nights import DAY, GENERATED_AT, RUN_ID, Page, made_up_night

from jobs.staging import RunSpec, RunStaging
from jobs.storage import LocalStorage
from jobs.warehouse import RunFigures, Warehouse
from reporting.course import DAYS_BEFORE
from reporting.drift import QUANTITIES, Drift, Profile, day_profiles, drift, model_changes, profile, shift
from reporting.periods import Period
from reporting.report import render_page
from schemas import TABLES

PERIOD = Period.day(DAY)
USUAL: Mapping[str, Mapping[str, float]] = {
    "emotions": {"neutral": 120.0, "sad": 40.0, "angry": 40.0},
    "confidence": {"0.4 to 0.5": 100, "0.5 to 0.6": 100},
    "levels": {"-30 to -24 dBFS": 150, "-24 to -18 dBFS": 50},
    "codecs": {"WAV/ULAW, two channel": 200},
    "coverage": {"scored": 196, "not scored": 4},
}
TIMES = 8
"""A day of so many times the calls of USUAL."""


def likes(of: Mapping[str, Mapping[str, float]], times: float) -> Mapping[str, Mapping[str, float]]:
    return {name: {each: times * calls for each, calls in counts.items()} for name, counts in of.items()}


def before(days: int, model_id: str = "m") -> dict[date, Profile]:
    return {day: Profile(model_id, likes(USUAL, TIMES)) for day in PERIOD.before(days)}


def today(model_id: str = "m", times: float = TIMES, **changed: Mapping[str, float]) -> dict[date, Profile]:
    return {DAY: Profile(model_id, {**likes(USUAL, times), **changed})}


def found(profiles: Mapping[date, Profile]) -> Drift:
    return drift(profiles, PERIOD, DAYS_BEFORE)


def test_the_index_is_its_definition() -> None:
    """By hand: 0.5 is added to each category's count."""
    one = shift("codecs", {"a": 30.0, "b": 70.0}, {"a": 50.0, "b": 40.0, "c": 10.0}, 9)
    p = [30.5 / 101.5, 70.5 / 101.5, 0.5 / 101.5]
    q = [50.5 / 101.5, 40.5 / 101.5, 10.5 / 101.5]
    assert one.psi == pytest.approx(sum((a - b) * math.log(a / b) for a, b in zip(p, q, strict=True)))
    assert [(each.category, each.share, each.usual) for each in one.moved] == [
        ("c", 0.0, 0.1),
        ("b", 0.7, 0.4),
        ("a", 0.3, 0.5),
    ]
    assert shift("codecs", {"a": 5}, {"a": 9}, 9).psi == 0
    # chi2 with two degrees of freedom has 9.2103 at 99%.
    assert one.by_chance == pytest.approx(9.2103 * 2 / 100, abs=1e-4)


@pytest.mark.parametrize("n", [60, 2000])
@pytest.mark.parametrize("usual", [(0.6, 0.2, 0.1, 0.06, 0.04), (0.98, 0.02), (0.5, 0.3, 0.15, 0.04, 0.009, 0.001)])
def test_days_on_which_nothing_changed_stay_below_chance(n: int, usual: Sequence[float]) -> None:
    """One in a hundred of the days after 28 like them is beyond chance, where the law of the index holds."""
    rng = np.random.default_rng(3)
    names = "abcdef"[: len(usual)]
    days, history = rng.multinomial(n, usual, 400), rng.multinomial(28 * n, usual, 400)
    beyond = [
        one.psi > one.by_chance
        for day, past in zip(days, history, strict=True)
        for one in [shift("x", dict(zip(names, day, strict=True)), dict(zip(names, past, strict=True)), 28)]
    ]
    assert np.mean(beyond) < 0.025


VERDICTS = [
    (today(), dict.fromkeys(QUANTITIES, "usual")),
    (today(emotions={"neutral": 560, "sad": 320, "angry": 720}), {"emotions": "much"}),
    (today(levels={"-30 to -24 dBFS": 1440, "-24 to -18 dBFS": 160}), {"levels": "some"}),
    (today(codecs={"MP3/MPEG_LAYER_III, mono": 800, "WAV/ULAW, two channel": 800}), {"codecs": "much"}),
    (today(coverage={"scored": 1400, "not scored": 200}), {"coverage": "some"}),
    (today(times=0.1), {"emotions": "few", "coverage": "few", "codecs": "usual"}),
    (today(times=0.1, codecs={"MP3/MPEG_LAYER_III, mono": 20}), {"codecs": "few"}),
]


@pytest.mark.parametrize(("day", "expected"), VERDICTS)
def test_what_moved_is_told(day: dict[date, Profile], expected: Mapping[str, str]) -> None:
    verdicts = {each.quantity: each.verdict for each in found({**before(20), **day}).shifts}
    assert {quantity: verdicts[quantity] for quantity in expected} == expected
    assert set(verdicts) == set(QUANTITIES)
    others = set(verdicts.items()) - set(expected.items())
    assert {verdict for _, verdict in others} <= {"usual", "few" if "few" in expected.values() else "usual"}


SENTENCES = [
    (
        {**before(20), **today()},
        "Emotions, confidence, levels, codecs and coverage are as on the 20 days before.",
    ),
    (
        {**before(20), **today(codecs={"MP3/MPEG_LAYER_III, mono": 1600})},
        "Codecs (PSI 19.13: MP3/MPEG_LAYER_III, mono 100%, usually 0%; WAV/ULAW, two channel 0%, usually 100%) are "
        "much unlike the 20 days before. Emotions, confidence, levels and coverage are as",
    ),
    (
        {**before(20), **today(coverage={"scored": 1400, "not scored": 200})},
        "Coverage (PSI 0.20: not scored 12%, usually 2%; scored 88%, usually 98%) is somewhat unlike the 20 days",
    ),
    ({**before(20), **today(times=0.1)}, "there are too few calls to tell a shift from chance."),
    ({**before(6), **today()}, "What is usual of the data is said once 7 days before are published."),
    ({**before(6)}, "What is usual of the data is said once 7 days before are published."),
    ({}, "What is usual of the data is said once 7 days before are published."),
    (
        {**before(20), **today("n", emotions={"angry": 1600.0})},
        "From 20 November on the model was n, before it m: emotions and confidence are compared with days of the same "
        "model only. Levels, codecs and coverage are as on the 20 days before. Emotions and confidence cannot be "
        "compared yet: fewer than 7 days before.",
    ),
]


@pytest.mark.parametrize(("profiles", "expected"), SENTENCES)
def test_it_is_said_in_words(profiles: dict[date, Profile], expected: str) -> None:
    assert expected in " ".join(found(profiles).sentences)


def test_changes_of_the_model_are_found() -> None:
    days = [DAY + timedelta(each) for each in range(6)]
    models = dict(zip(days, ["a", "a", "b", "b", "b", "a"], strict=True))
    del models[days[3]]
    assert [(each.day, each.before, each.after) for each in model_changes(models)] == [
        (days[2], "a", "b"),
        (days[5], "b", "a"),
    ]


def a_night(day: date, calls: int = 60, louder_db: float = 0.0, model_id: str = "m-1-00000000") -> dict[str, pa.Table]:
    """A made-up night, some of whose tables are changed."""
    tables = made_up_night(calls=calls, day=day, seed=day.toordinal(), minutes=(0.5, 0.7))

    def put(table: str, column: str, values: pa.Array) -> None:
        at = tables[table].schema.get_field_index(column)
        tables[table] = tables[table].set_column(at, tables[table].schema.field(column), values)

    put(
        "emotion_log", "loudness_dbfs", pc.cast(pc.add(tables["emotion_log"]["loudness_dbfs"], louder_db), pa.float32())
    )
    scored = pc.equal(tables["recordings"]["status"], "scored")
    put("recordings", "codec", pc.if_else(scored, "WAV/ULAW", None))
    put("recordings", "channel_kind", pc.if_else(scored, "two_channel", None))
    put("runs", "model_id", pa.array([model_id]))
    return tables


def counted(tables: Mapping[str, pa.Table]) -> Profile:
    daily = tables["satisfaction_daily"]
    return profile(tables["runs"]["model_id"][0].as_py(), tables["emotion_log"], tables["recordings"], daily)


def test_a_day_is_counted_by_calls() -> None:
    tables = a_night(DAY)
    counts = counted(tables).counts
    assert counts["coverage"] == {"scored": 60, "not scored": 6}
    assert counts["codecs"] == {"WAV/ULAW, two channel": 60}
    assert counts["levels"] == {"\N{MINUS SIGN}24 to \N{MINUS SIGN}18 dBFS": 60}
    log = tables["emotion_log"].to_pandas()
    heard = log[log["classified"]]
    shares = heard.groupby("contact_id")["emotion"].value_counts(normalize=True).groupby("emotion").sum()
    assert counts["emotions"] == pytest.approx(shares.to_dict())
    assert sum(counts["confidence"].values()) == 60
    assert sum(counts["emotions"].values()) == pytest.approx(60)


def test_the_page_marks_another_model_and_says_what_moved() -> None:
    days = [*PERIOD.before(9), DAY]
    nights = {day: a_night(day) for day in days[:-1]} | {DAY: a_night(DAY, louder_db=9.0, model_id="n-2-00000000")}
    profiles = {day: counted(tables) for day, tables in nights.items()}
    history = pa.concat_tables([nights[day]["satisfaction_daily"] for day in days[:-1]])
    page = Page(render_page(nights[DAY], period=PERIOD, generated_at=GENERATED_AT, history=history, profiles=profiles))
    text = " ".join(page.text.split())
    (levels,) = [each for each in found(profiles).shifts if each.quantity == "levels"]
    assert levels.verdict == "much"
    assert page.one("drift.levels.psi") == pytest.approx(levels.psi, rel=1e-4)
    assert page.one("drift.levels.by_chance") == pytest.approx(levels.by_chance, rel=1e-4)
    assert page.one("drift.levels.days") == 9
    assert "drift.emotions.psi" not in page.figures, "of the new model there is no day before"
    assert "dBFS 100%, usually 0%" in text
    assert "Fri 20 Nov, from here on another model" in text
    assert "another model from here on" in "".join(picture["desc"] for picture in page.pictures)
    quiet = Page(render_page(nights[DAY], period=PERIOD, generated_at=GENERATED_AT, history=history))
    assert "another model" not in quiet.html
    assert not [name for name in quiet.figures if name.startswith("drift.")]


def test_days_are_counted_from_what_is_published(tmp_path: Path) -> None:
    nights = {day: a_night(day, calls=9) for day in (DAY - timedelta(1), DAY)}
    warehouse = Warehouse(LocalStorage(tmp_path / "warehouse"))
    for number, (day, tables) in enumerate(nights.items()):
        staging = RunStaging(LocalStorage(tmp_path / "staging"), day, f"{RUN_ID}{number}")
        staging.start_run(RunSpec(staging.run_id, day, "m", ("customer",), "0", f"{day}T23:00:00Z"))
        for name, table in TABLES.items():
            if name != "runs":
                staging.write_table(table, tables[name])
        counts = dict.fromkeys(("planned", "scored", "quarantined", "skipped", "suppressed", "ignored"), 0)
        figures = RunFigures("m-1-00000000", "0", **counts, audio_hours=1.0, step_seconds={}, coverage=1.0,
            scored_of_planned=1.0, status="published")  # fmt: skip
        warehouse.publish(staging, figures)
    days = [DAY - timedelta(2), *nights]
    read = warehouse.view(lambda view: day_profiles(view, days))
    assert set(read) == set(nights)
    for day, tables in nights.items():
        expected = counted(tables)
        assert read[day].model_id == expected.model_id
        for quantity in QUANTITIES:
            assert read[day].counts[quantity] == pytest.approx(expected.counts[quantity])
