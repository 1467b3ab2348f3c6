"""The nightly report and the demo's summary, on made-up nights: their numbers are the tables', and nothing leaks."""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from datetime import date, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from made_up_nights import DAY, GENERATED_AT, RUN_ID, Odd, Page, made_up_night
from rich.console import Console

from infra.demo.summary import print_summary
from jobs import render_report
from jobs.labels import Label, Labels
from jobs.settings import ROOT, load_settings
from jobs.staging import RunSpec, RunStaging
from jobs.step import StepContext
from jobs.storage import LocalStorage
from jobs.warehouse import RunFigures, Warehouse
from reporting import figures, report, words
from reporting.calls import CALLS_TO_HEAR, FEWEST_TO_HEAR, Call, CallToHear, calls_to_hear, reasons_in_words
from reporting.course import Course
from reporting.figures import Speech
from reporting.headline import headline
from reporting.night import FILES_LISTED, night
from reporting.periods import Period
from reporting.report import ModelNote, render_page
from schemas import TABLES
from schemas import definitions as d
from schemas.reasons import REASONS as REASONS_NOT_SCORED
from ser_model.classifier import ModelCard
from ser_model.taxonomy import EMOTIONS, MOOD

EVIL = "<script>alert(1)</script> $x^2$ & \x1b[31m"


@pytest.fixture(scope="module")
def tables() -> dict[str, pa.Table]:
    return made_up_night()


@pytest.fixture(scope="module")
def page(tables: dict[str, pa.Table]) -> Page:
    return Page(render(tables))


MODEL = ModelNote(
    labels=("neutral", "angry"),
    corpora=("ravdess",),
    license="CC BY-NC-SA 4.0",
    commercial_use=False,
    accuracy="It is.",
)


def render(tables: Mapping[str, pa.Table], **options: Any) -> str:
    return render_page(tables, period=Period.day(DAY), generated_at=GENERATED_AT, **options)


# The page


def test_what_a_figure_says_is_its_value(page: Page) -> None:
    said = 0
    for figures_of_a_name in page.figures.values():
        for value, text in figures_of_a_name:
            number = re.fullmatch(r"([\N{MINUS SIGN}+]?[\d,]+)(\.\d+)?(%?)", text)
            if number is None:
                continue  # a duration, or a share beyond the last whole percent
            digits = len(number[2] or ".") - 1
            shown = float((number[1] + (number[2] or "")).replace("\N{MINUS SIGN}", "-").replace(",", ""))
            assert shown == pytest.approx(100 * value if number[3] else value, abs=0.5001 * 10**-digits)
            said += 1
    assert said > 60


def test_counts_reconcile(page: Page) -> None:
    lines = {name: page.one(name) for name in page.figures if name.startswith("not_scored.")}
    assert lines == {
        "not_scored.quarantined.truncated": 1,
        "not_scored.quarantined.not_audio": 2,
        "not_scored.skipped.mono_not_separable": 1,
        "not_scored.skipped.opted_out": 1,
        "not_scored.expected.no_recording": 2,
    }
    for outcome in ("quarantined", "skipped", "no_recording", "opted_out"):
        by_queue = sum(page.one(f"queue.{queue}.{outcome}") for queue in ("Billing", "Support", "Sales"))
        assert page.one(f"total.{outcome}") == by_queue > 0
    scored, expected = page.one("total.calls_scored"), page.one("total.contacts_expected")
    assert scored + sum(lines.values()) == expected + page.one("total.opted_out")
    assert page.one("total.opted_out") == 1


@pytest.mark.parametrize("night_options", [{}, {"calls": 0, "odd": (), "unrecorded": 0}, {"calls": 40}])
def test_nothing_leaves_the_page(night_options: dict[str, Any]) -> None:
    page = Page(render(made_up_night(**night_options), model=MODEL))
    assert not re.search(r"https?:|//[a-z]|@import|url\(|javascript:", page.html.replace("s3://", ""), re.IGNORECASE)
    forbidden = {"script", "link", "img", "iframe", "object", "embed", "form", "base"}
    assert forbidden.isdisjoint(tag for tag, _ in page.tags)
    for tag, attributes in page.tags:
        assert "src" not in attributes
        assert not any(name.startswith("on") for name in attributes)
        assert (attributes.get("href") or "#").startswith("#"), tag
    policy = [attributes["content"] for _, attributes in page.tags if "http-equiv" in attributes]
    assert policy == ["default-src 'none'; style-src 'unsafe-inline'"]


def test_every_picture_says_what_it_shows_and_every_id_is_its_own(page: Page) -> None:
    assert len(page.pictures) == 4 + CALLS_TO_HEAR + 4  # charts, timelines, mood paths
    for picture in page.pictures:
        assert picture["role"] == "img"
        assert picture["by"] == f"{picture['title-id']} {picture['desc-id']}"
        assert len(picture["title"]) > 10
        assert len(picture["desc"]) > 10
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = [str(attributes["href"])[1:] for _, attributes in page.tags if "href" in attributes]
    assert links
    assert set(links) <= set(ids)


def test_pictures_take_their_colors_from_the_page(page: Page) -> None:
    charts = re.findall(r'<svg class="chart".*?</svg>', page.html, re.DOTALL)
    assert len(charts) == 4
    for chart, color in zip(charts, ("accent", "accent", "mood-negative", "accent"), strict=True):
        assert f"var(--{color})" in chart
    for chart in charts:
        assert set(re.findall(r"#[0-9a-f]{6}", chart)) <= {"#16191c"}, "text upon a bar is dark in light and dark"


@pytest.mark.parametrize("queue", [EVIL, "$\\frac{$ 50%", "\u65e5\u672c\u8a9e \U0001f600", "'\"><b>", "{{ 7 * 7 }}"])
def test_names_are_escaped(queue: str) -> None:
    page = Page(render(made_up_night(queues=(queue, "Support"))))
    assert not {"script", "b"} & {tag for tag, _ in page.tags}
    assert words.printable(queue) in page.text
    descriptions = [picture["desc"] + picture["title"] for picture in page.pictures]
    assert any(words.printable(queue) in description for description in descriptions)
    assert "\x1b" not in page.html
    # matplotlib takes no formula out of it: the chart's label is its beginning, as text.
    chart = re.search(r'<svg class="chart"[^>]*"moods-t moods-d".*?</svg>', page.html, re.DOTALL)
    assert chart is not None
    assert words.printable(queue)[:10] in Page(chart[0]).text.replace(descriptions[0], "")


@pytest.mark.browser
@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium")
def test_a_browser_runs_nothing_that_a_queue_is_called(tmp_path: Path) -> None:
    """By the page's escaping and by its policy, each alone; a page without either is shown to run it."""
    runs = "document.title='it ran'"
    names = (f"<script>{runs}</script>", f"<img src=x onerror={runs}>", f'"><svg onload="{runs}">')
    page = render(made_up_night(queues=names))
    without_policy = re.sub("<meta http-equiv[^>]*>", "", page)
    assert without_policy != page

    def title(html: str) -> str:
        (tmp_path / "page.html").write_text(html)
        command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
        command += ["--virtual-time-budget=2000", "--dump-dom", f"file://{tmp_path}/page.html"]
        shown = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        found = re.search("<title>(.*?)</title>", shown.stdout)
        assert found is not None, shown.stdout[:500]
        return found[1]

    assert title(without_policy.replace("</body>", f"{names[0]}</body>")) == "it ran"
    assert title(page.replace("</body>", f"{names[0]}</body>")) != "it ran"
    assert title(without_policy) != "it ran"


def test_same_tables_in_any_order_give_the_same_bytes(tables: dict[str, pa.Table]) -> None:
    chance = np.random.default_rng(1)
    shuffled = {name: rows.take(pa.array(chance.permutation(rows.num_rows))) for name, rows in tables.items()}
    assert shuffled["calls"] != tables["calls"]
    assert render(shuffled) == render(tables)


def test_a_day_without_recordings_has_a_page() -> None:
    page = Page(render(made_up_night(calls=0, odd=(), unrecorded=0)))
    assert "No recordings were planned for this day." in page.text
    assert RUN_ID in page.text
    assert not page.pictures


def test_a_day_that_was_never_run_has_a_page() -> None:
    page = Page(render({name: table.empty() for name, table in TABLES.items()}))
    assert "No recordings were planned for this day." in page.text
    assert "No run of this day is published." in page.text


def test_a_day_whose_recordings_are_all_lost_says_so() -> None:
    text = Page(render(made_up_night(calls=0, odd=(), unrecorded=5))).text
    assert "No recordings were planned for this day, though 5 contacts should have one" in text
    assert REASONS_NOT_SCORED["no_recording"].remedy in text


@pytest.mark.parametrize(
    ("status", "says"), [("published_degraded", "degraded"), ("volume_low", "low in volume"), ("new", "new")]
)
def test_a_run_that_is_not_whole_is_announced(tables: dict[str, pa.Table], status: str, says: str) -> None:
    runs = tables["runs"].to_pylist()
    changed = {
        **tables,
        "runs": pa.Table.from_pylist([{**runs[0], "status": status, "status_detail": "<b>93%"}], TABLES["runs"].schema),
    }
    assert f"This day is {says}: <b>93%. Its figures are of what was scored alone" in Page(render(changed)).text
    assert "This day is" not in Page(render(tables)).text


def test_the_last_run_is_the_one_that_is_shown(tables: dict[str, pa.Table]) -> None:
    first = tables["runs"].to_pylist()[0]
    again = {**first, "run_id": "20261121T103905Z-000000", "published_at": first["published_at"] + timedelta(hours=2)}
    for runs in ([first, again], [again, first]):
        run = night({**tables, "runs": pa.Table.from_pylist(runs, TABLES["runs"].schema)}).run
        assert run is not None
        assert run.run_id == again["run_id"]


def test_times_are_of_the_zone(tables: dict[str, pa.Table]) -> None:
    starts = [each.call.started_at for each in night(tables).to_hear]
    page = Page(render(tables, time_zone="Asia/Tokyo"))
    assert all(start and f"{(start + timedelta(hours=9)):%H:%M}" in page.text for start in starts)
    assert {int(name.split(".")[1]) for name in page.figures if name.startswith("hour.")} == {17, 18, 19}
    assert "Times are of Asia/Tokyo" in page.text


def test_many_files_are_cut_and_counted() -> None:
    text = Page(render(made_up_night(odd=[Odd("quarantined", "not_audio", FILES_LISTED + 7)]))).text
    assert "and 7 more: table recordings, reason_code not_audio" in text


def test_what_the_model_is_comes_from_its_card(tables: dict[str, pa.Table]) -> None:
    with_note, without = Page(render(tables, model=MODEL)).text, Page(render(tables)).text
    for said in ("2 emotions: neutral, angry", "It is.", "Trained on ravdess", "not for commercial use"):
        assert said in with_note
        assert said not in without
    assert "AI Act, Article 5(1)(f)" in without
    assert "Only the customer's side is classified by default" in without


def in_languages(tables: Mapping[str, pa.Table], *spoken: str | None) -> dict[str, pa.Table]:
    """The same night, its calls in these languages by turns."""
    calls = tables["calls"]["contact_id"].to_pylist()
    tags = {contact: spoken[number % len(spoken)] for number, contact in enumerate(calls)}
    contacts = tables["contacts"]
    of_contacts = pa.array([tags.get(contact, "xx") for contact in contacts["contact_id"].to_pylist()], pa.string())
    at = contacts.schema.get_field_index("language")
    return {**tables, "contacts": contacts.set_column(at, contacts.schema.field("language"), of_contacts)}


ENGLISH_MODEL = replace(MODEL, evaluated_languages=("en", "de"))
LANGUAGES = [
    (("en-US", "en_GB", "EN", "de-AT", None, ""), ENGLISH_MODEL, None),
    (("English", "und", "zxx-Latn", "42", "e"), ENGLISH_MODEL, None),
    (
        ("es-US", "en-US", "ES", None),
        ENGLISH_MODEL,
        "12 of the day's 24 scored calls are in Spanish (es): by its card the model was never evaluated on this "
        "language, so nothing is known of how right it is on those calls.",
    ),
    (
        ("pt_BR", "fr", "fr-CA", "en", "yue-Hant-HK", "en"),
        ENGLISH_MODEL,
        "8 of the day's 24 scored calls are in French (fr), 4 in Portuguese (pt) and 4 in language yue: by its card "
        "the model was never evaluated on these languages, ",
    ),
    (
        ("en",),
        MODEL,
        "24 of the day's 24 scored calls are in English (en): by its card the model was never evaluated on",
    ),
    (("es", *["en"] * 23), ENGLISH_MODEL, "1 of the day's 24 scored calls is in Spanish (es): by its card"),
]


@pytest.mark.parametrize(
    ("spoken", "model", "expected"), LANGUAGES, ids=[", ".join(map(str, e[0]))[:40] for e in LANGUAGES]
)
def test_languages_that_the_model_was_never_evaluated_on_are_named(
    tables: dict[str, pa.Table], spoken: tuple[str | None, ...], model: ModelNote, expected: str | None
) -> None:
    text = " ".join(Page(render(in_languages(tables, *spoken), model=model)).text.split())
    assert (expected or "What is known of its accuracy.") in text
    assert ("never evaluated" in text) == (expected is not None)
    if expected is not None:
        assert text.index("never evaluated") < text.index("What is known of its accuracy.") < text.index("It is.")
    assert "never evaluated" not in Page(render(in_languages(tables, *spoken))).text


def test_an_enrichment_says_that_it_is_one(tables: dict[str, pa.Table]) -> None:
    row = tables["runs"].to_pylist()[0]
    pages = {
        kind: Page(
            render({**tables, "runs": pa.Table.from_pylist([{**row, "kind": kind}], TABLES["runs"].schema)})
        ).text
        for kind in ("night", "enrichment", None)
    }
    assert "no audio was read" in pages["enrichment"]
    assert "an hour of the steps' time" not in pages["enrichment"]
    assert pages["night"] == pages[None]
    assert "no audio was read" not in pages["night"]
    assert "an hour of the steps' time" in pages["night"]


def test_classified_agents_are_announced(tables: dict[str, pa.Table]) -> None:
    column = pa.array(["neutral"] * tables["emotion_log"].num_rows)
    at = tables["emotion_log"].schema.get_field_index("emotion")
    changed = {**tables, "emotion_log": tables["emotion_log"].set_column(at, "emotion", column)}
    assert "In these calls agents' speech was classified too." in Page(render(changed)).text


# The view


def call(contact_id: str = "c", reasons: Sequence[str] = (), **values: Any) -> Call:
    nothing = dict.fromkeys(each.name for each in fields(Call))
    known = {"contact_id": contact_id, "review_reasons": reasons, "source_uri": "s3://r/c.wav", "duration_s": 60.0}
    return Call(**{**nothing, **known, "longest_silence_s": 1.0, **values})


RANKING = [
    pytest.param(
        [call("b", ["low_satisfaction"], satisfaction_index=5.0), call("a", ["sustained_anger"], anger_peak=0.6)],
        ["a", "b"],
        id="the most pressing reason first",
    ),
    pytest.param(
        [call("b", ["sustained_anger"], anger_peak=0.9), call("a", ["sustained_anger", "escalated"], anger_peak=0.7)],
        ["a", "b"],
        id="then more reasons",
    ),
    pytest.param(
        [call("b", ["sustained_anger"], anger_peak=0.7), call("a", ["sustained_anger"], anger_peak=0.9)],
        ["a", "b"],
        id="then the higher peak",
    ),
    pytest.param(
        [call("b", ["long_silence"]), call("a", ["long_silence"], satisfaction_index=70.0)],
        ["a", "b"],
        id="then the lower index, a call without one last",
    ),
    pytest.param(
        [call("b", ["long_silence"]), call("a", ["long_silence"])], ["a", "b"], id="then the id, so that it is stable"
    ),
    pytest.param(
        [call("b", ["some_new_reason"]), call("a", ["many_interruptions"])], ["a", "b"], id="an unknown reason last"
    ),
    pytest.param(
        [
            *(call(name, satisfaction_index=index) for name, index in (("d", 50.0), ("c", 40.0), ("e", 80.0))),
            call("a", ["long_silence"]),
            call("z"),
        ],
        ["a", "c", "d"],
        id="few reasons: filled up with the lowest indices",
    ),
    pytest.param([call("z")], [], id="a call without reason or index is not listed"),
    pytest.param([], [], id="no calls"),
]


@pytest.mark.parametrize(("calls", "expected"), RANKING)
def test_ranking(calls: list[Call], expected: list[str]) -> None:
    ranked = calls_to_hear(calls)
    assert [each.call.contact_id for each in ranked] == expected
    assert [each.rank for each in ranked] == list(range(1, len(expected) + 1))


def test_ranking_has_a_limit() -> None:
    calls = [call(f"{number:02}", ["long_silence"], satisfaction_index=float(number)) for number in range(40)]
    assert [each.call.contact_id for each in calls_to_hear(calls)] == [
        f"{number:02}" for number in range(CALLS_TO_HEAR)
    ]
    assert len(calls_to_hear(calls, limit=2)) == 2
    assert len(calls_to_hear([call("a", satisfaction_index=1.0)] * 9)) == FEWEST_TO_HEAR


REASONS = [
    (call(reasons=["sustained_anger"], anger_peak=0.82), ("Sustained anger: 0.82 on average over 10 s of speech",)),
    (
        call(reasons=["escalated", "mood_fall"], anger_peak=0.82, mood_change=-0.456),
        ("Escalated: the mood fell by 0.46, and anger rose to 0.82",),
    ),
    (call(reasons=["mood_fall"], mood_change=-0.5), ("The mood fell by 0.50 from start to end",)),
    (
        call(reasons=["low_satisfaction", "long_silence"], satisfaction_index=28.4, longest_silence_s=42.3),
        ("Low satisfaction: an index of 28, where neutral is 60", "Nobody spoke for 42 s"),
    ),
    (
        call(reasons=["many_interruptions"], customer_interruptions=4, agent_interruptions=3),
        ("7 interruptions, 4 of them by the customer",),
    ),
    (call(reasons=["asked_twice"]), ("asked twice",)),
    (call(satisfaction_index=55.0), ("No rule was met; its index, 55, is among the lowest",)),
]


@pytest.mark.parametrize(("of", "expected"), REASONS)
def test_reasons_in_words(of: Call, expected: tuple[str, ...]) -> None:
    assert reasons_in_words(of) == expected


def test_every_reason_of_the_definitions_has_its_own_words() -> None:
    for code, general in d.REVIEW_REASONS.items():
        (said,) = reasons_in_words(call(reasons=[code], anger_peak=0.7, mood_change=-0.5, satisfaction_index=20.0))
        assert said not in (general, code.replace("_", " "))


HEADLINES = [
    (
        {},
        "24 of 30 expected calls were scored, a coverage of 80%; 3 quarantined, 1 skipped and 2 without a recording. "
        "1 recording was left out, its customer having opted out. ",
    ),
    (
        {"odd": [Odd("skipped", "opted_out", 4)], "unrecorded": 0},
        "24 of 24 expected calls were scored, a coverage of 100%. 4 recordings were left out, their customers having "
        "opted out. ",
    ),
    ({"odd": (), "unrecorded": 0}, "24 of 24 expected calls were scored, a coverage of 100%."),
    (
        {"odd": (), "unrecorded": 1, "calls": 400, "minutes": (0.5, 0.7)},
        "400 of 401 expected calls were scored, a coverage of >99%; 1 without a recording.",
    ),
    ({"calls": 0}, "In no call did the customer speak long enough to tell a mood."),
    ({"queues": ("Billing",)}, "9 calls escalated and 0 recovered."),
    ({"calls": 9}, "Fewer than two queues had 5 calls, too few to say which fared worst."),
    ({}, "Billing had the lowest index, "),
    ({}, "which may be chance: the day's mean lies within its interval."),
    ({"calls": 300, "minutes": (0.5, 0.7)}, "clearly below the day's mean."),
]


@pytest.mark.parametrize(("night_options", "expected"), HEADLINES)
def test_headline(night_options: dict[str, Any], expected: str) -> None:
    said = headline(night(made_up_night(**night_options)), Period.day(DAY), Course())
    assert expected in " ".join((*said, ""))
    assert 1 <= len(said) <= 3
    rendered = Page(render(made_up_night(**night_options))).text
    assert all(sentence in rendered for sentence in said)


def test_queues_are_in_order_of_their_index() -> None:
    queues = night(made_up_night(calls=40, queues=("A", "B", None, "C"))).queues
    means = [group.index.mean for group in queues]
    assert None not in means
    assert means == sorted(means)  # type: ignore[type-var]
    assert {group.name for group in queues} == {"A", "B", "no queue", "C"}
    for group in queues:
        assert group.moods is not None
        assert sum(group.moods.stacked) == pytest.approx(1.0)


def test_a_timeline_as_a_table_holds_all_speech() -> None:
    for each in night(made_up_night()).to_hear:
        assert len(each.stretches) <= 16
        customer = sum(part.seconds for part in each.speech if part.role == "customer")
        assert customer > 10
        assert sum(row.customer_s for row in each.stretches) == pytest.approx(customer)
        angry = sum(part.seconds * (part.anger or 0) for part in each.speech)
        assert sum(row.customer_s * (row.anger or 0) for row in each.stretches) == pytest.approx(angry)
        assert each.stretches[0].start_s == 0
        assert each.stretches[-1].end_s == each.duration_s


@pytest.mark.parametrize("duration_s", [1, 12, 59, 60, 61, 245, 3599, 3600, 4 * 3600])
def test_ticks_fit_below_a_timeline(duration_s: float) -> None:
    ticks = CallToHear(rank=1, call=call(duration_s=duration_s), reasons=()).ticks
    assert ticks[0] == (0, "0:00")
    assert 1 <= len(ticks) <= 6
    assert all(place < 95 for place, _ in ticks)


# Pictures


def test_a_timeline_shows_who_speaks_when() -> None:
    speech = [
        Speech("agent", 0.0, 10.0),
        Speech("customer", 20.0, 23.0, "angry", 0.9, -0.6, 0.9),
        Speech("customer", 30.0, 32.0, "happy", 0.6, 0.8, 0.0),
        Speech("customer", 40.0, 41.0),
    ]
    picture = figures.timeline("c", "A call", speech, 100.0)
    assert 'class="agent" d="M0.0 4h100.0' in picture
    angry, happy, unknown = re.findall(r'<rect class="e-(\w+)" x="([\d.]+)" y="(\d+)" width="([\d.]+)"', picture)
    assert (angry[0], angry[1], angry[3]) == ("angry", "200.0", "30.0")
    assert (happy[0], happy[1], happy[3]) == ("happy", "300.0", "20.0")
    assert unknown[0] == "none"
    assert int(happy[2]) < int(unknown[2]) < int(angry[2]), "pleasant above, unpleasant below"
    assert "<title>0:20 to 0:23: angry 90%, anger 0.90</title>" in picture
    assert "Customer: angry 3 s, happy 2 s. Anger is highest, 0.90, at 0:20." in picture
    (points,) = re.findall(r'points="([^"]*)"', picture)
    assert len(points.split()) == 4, "where nothing is classified, the line has no point"


@pytest.mark.parametrize("speech", [[], [Speech("agent", 0, 5)], [Speech("customer", 0, 3, "sad", 0.5, -0.5, None)]])
def test_a_timeline_without_anger_has_no_line(speech: list[Speech]) -> None:
    assert "polyline" not in figures.timeline("c", "A call", speech, 10.0)


def test_a_mono_call_is_said_to_hold_both_sides() -> None:
    picture = figures.timeline("c", "A call", [Speech("mixed", 0.0, 3.0, "sad", 0.5, -0.5, 0.1)], 10.0)
    assert "Both sides: sad 3 s." in picture
    night_before = made_up_night(calls=1)
    at = night_before["emotion_log"].schema.get_field_index("role")
    mixed = pa.array(["mixed"] * night_before["emotion_log"].num_rows)
    changed = {**night_before, "emotion_log": night_before["emotion_log"].set_column(at, "role", mixed)}
    assert ">Both</span>" in render(changed)
    assert ">Both</span>" not in render(night_before)


def test_a_mood_path_has_a_gap_where_nothing_was_said() -> None:
    picture = figures.arc("p", "A path", ("start", "then", "later", "end"), (0.5, None, -0.5, -0.25), 0.5)
    assert picture.count("<circle") == 3
    assert picture.count('class="path"') == 1
    assert re.findall(r'<circle class="(\w+)" cx="[\d.]+" cy="([\d.]+)"', picture) == [
        ("up", "4.0"),
        ("down", "56.0"),
        ("down", "43.0"),
    ]
    assert "start +0.50, then not shown, later -0.50, end -0.25" in picture


@pytest.mark.parametrize(
    ("paths", "edge"), [([], 0.2), ([(0.1, None)], 0.2), ([(0.1, -0.3), (0.29,)], 0.3), ([(0.31,)], 0.4)]
)
def test_mood_paths_share_edges_that_hold_them(paths: list[tuple[float | None, ...]], edge: float) -> None:
    assert figures.arc_edge(paths) == pytest.approx(edge)


def test_every_emotion_and_mood_has_a_color_of_its_own() -> None:
    assert set(figures.EMOTION_COLORS) == set(EMOTIONS)
    assert set(figures.MOOD_COLORS) == set(MOOD.values())
    assert len(set(figures.EMOTION_COLORS.values())) == len(EMOTIONS)


NUMBERS = [
    (words.percent, 0.0, "0%"),
    (words.percent, 0.001, "<1%"),
    (words.percent, 0.5, "50%"),
    (words.percent, 0.997, ">99%"),
    (words.percent, 1.0, "100%"),
    (words.percent, None, "\N{EN DASH}"),
    (words.signed, -0.001, "+0.00"),
    (words.signed, -0.256, "\N{MINUS SIGN}0.26"),
    (words.number, 12345.6, "12,346"),
    (words.clock, 59.6, "1:00"),
    (words.clock, 3725, "1:02:05"),
    (words.duration, 12.34, "12.3 s"),
    (words.duration, 125, "2 min 5 s"),
    (words.duration, 7260, "2 h 1 min"),
]


@pytest.mark.parametrize(("say", "value", "expected"), NUMBERS)
def test_numbers_in_words(say: Any, value: float | None, expected: str) -> None:
    assert say(value) == expected


# The step


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the settings say that everything is."""
    monkeypatch.setenv("CALLMOOD_RECORDINGS", "s3://recordings")
    monkeypatch.setenv("CALLMOOD_MODEL", str(tmp_path / "no model"))
    for name in ("staging", "warehouse", "reports"):
        monkeypatch.setenv(f"CALLMOOD_{name.upper()}", str(tmp_path / name))
    return tmp_path


def published(place: Path, day: date, tables: Mapping[str, pa.Table]) -> StepContext:
    """A run that has published a day, at its last step."""
    staging = RunStaging(LocalStorage(place / "staging"), day, RUN_ID)
    staging.start_run(RunSpec(RUN_ID, day, str(place / "no model"), ("customer",), "0", f"{day}T23:00:00Z"))
    for name, table in TABLES.items():
        if name != "runs":
            staging.write_table(table, tables[name])
    Warehouse(LocalStorage(place / "warehouse")).publish(staging, run_figures(tables["runs"]))
    return StepContext(load_settings(), staging, argparse.Namespace())


def files(place: Path) -> dict[str, bytes]:
    reports = place / "reports"
    return {str(file.relative_to(reports)): file.read_bytes() for file in reports.rglob("*.html")}


def test_the_step_reports_what_is_published(tables: dict[str, pa.Table], place: Path) -> None:
    counts = render_report.run(published(place, DAY, tables))

    written = files(place)
    assert set(written) == {f"{DAY}/nightly.html", f"{DAY}/nightly-summary.html"}
    assert counts == {"calls": 24, "bytes": sum(map(len, written.values()))}
    page = Page(written[f"{DAY}/nightly.html"].decode())
    assert page.one("total.calls_scored") == 24
    assert len([picture for picture in page.pictures if "Timeline" in picture["title"]]) == CALLS_TO_HEAR
    assert "Anger is highest" in page.html
    assert not [
        each
        for each in tables["contacts"]["contact_id"].to_pylist()
        if each.encode() in written[f"{DAY}/nightly-summary.html"]
    ]


def test_the_page_says_whom_to_win_back_and_the_summary_how_many(tables: dict[str, pa.Table], place: Path) -> None:
    """By hand: all calls are of one day, so whoever called twice called again within 7 days."""
    context = published(place, DAY, tables)
    day_before = DAY - timedelta(days=1)
    published(place, day_before, made_up_night(calls=30, day=day_before, seed=9))
    render_report.run(context)
    keys = {row["contact_id"]: row["customer_key"] for row in tables["contacts"].to_pylist() if row["customer_key"]}
    left_out = {row["contact_id"] for row in tables["recordings"].to_pylist() if row["reason_code"] == "opted_out"}
    left_out |= {
        row["contact_id"]
        for row in made_up_night(calls=30, day=day_before, seed=9)["recordings"].to_pylist()
        if row["reason_code"] == "opted_out"
    }
    yesterday = made_up_night(calls=30, day=day_before, seed=9)
    keys_before = {row["contact_id"]: row["customer_key"] for row in yesterday["contacts"].to_pylist()}
    opted_out = {(keys | keys_before).get(each) for each in left_out}
    called = [keys_before[row["contact_id"]] for row in yesterday["calls"].to_pylist()]
    last: dict[str, dict[str, Any]] = {}
    for row in sorted(tables["calls"].to_pylist(), key=lambda row: (row["started_at"], row["contact_id"])):
        key = keys.get(row["contact_id"])
        if key is not None and key not in opted_out:
            called.append(key)
            last[key] = row
    badly = {
        key
        for key, row in last.items()
        if row["mood_end"] <= d.RECOVERED_MOOD_START
        and {"sustained_anger", "escalated", "mood_fall", "low_satisfaction"} & set(row["review_reasons"])
    }
    again = {key for key in last if called.count(key) > 1}
    pages = {name: Page(page.decode()) for name, page in files(place).items()}
    for page in pages.values():
        counts = [page.one(f"win_back.{name}") for name in ("customers", "ended_badly", "called_again")]
        assert counts == [len(badly | again), len(badly), len(again)]
    review, summary = pages[f"{DAY}/nightly.html"], pages[f"{DAY}/nightly-summary.html"]
    indices = {row["contact_id"]: row["satisfaction_index"] for key, row in last.items() if key in badly | again}
    lowest = sorted(indices, key=lambda contact: indices[contact])[: report.TO_WIN_BACK]
    assert [review.one(f"win_back.{contact}.index") for contact in lowest] == pytest.approx(
        [indices[contact] for contact in lowest], abs=0.051
    )
    assert len([name for name in review.figures if name.startswith("win_back.")]) == 3 + 3 * len(lowest)
    assert len([name for name in summary.figures if name.startswith("win_back.")]) == 3
    assert not [contact for contact in indices if contact in summary.html]


def test_reports_on_weeks_and_months_are_written_and_follow_the_tables(
    tables: dict[str, pa.Table], place: Path
) -> None:
    sunday = Period.week(DAY).last
    render_report.run(published(place, DAY, tables))
    assert render_report.main(["--month", "2026-11"]) == 0
    month = {"2026-11-01/monthly.html", "2026-11-01/monthly-summary.html"}
    assert month < set(files(place))
    assert Page(files(place)["2026-11-01/monthly.html"].decode()).one("total.calls_scored") == 24

    # The night of the week's last day writes the week, and the month anew.
    render_report.run(published(place, sunday, made_up_night(calls=9, day=sunday, seed=8)))
    written = files(place)
    week = {"2026-11-16/weekly.html", "2026-11-16/weekly-summary.html"}
    days = {f"{day}/{name}" for day in (DAY, sunday) for name in ("nightly.html", "nightly-summary.html")}
    assert set(written) == days | week | month
    for name in (*week, *month):
        page = Page(written[name].decode())
        assert page.one("total.calls_scored") == 33
        assert page.one(f"day.{DAY}.calls_indexed") == 24
    # The Friday is what the Sunday is compared with.
    assert Page(written[f"{sunday}/nightly.html"].decode()).one(f"day.{DAY}.calls_indexed") == 24


@pytest.mark.parametrize(
    "arguments", [["--week", "2026-11"], ["--week", "2026-W47", "--month", "2026-11"], ["--week", "2026-W47", "--x"]]
)
def test_what_is_no_week_is_refused(arguments: list[str], place: Path) -> None:
    with pytest.raises(SystemExit):
        render_report.main(arguments)
    assert files(place) == {}


def test_the_report_says_nothing_of_another_model_than_the_days(
    tables: dict[str, pa.Table], caplog: pytest.LogCaptureFixture
) -> None:
    shipped = str(ROOT / "ser_model" / "models" / "research")
    run = night(tables).run
    assert run is not None
    note = render_report.model_note(shipped, None)
    assert note is not None
    assert note.evaluated_languages == ("en", "de")
    assert render_report.model_note(shipped, run) is None
    assert "the day was classified by m-1-00000000, and CALLMOOD_MODEL is research-" in caplog.text
    card = ModelCard.load(Path(shipped))
    assert render_report.model_note(shipped, replace(run, model_id=card.model_id)) == note


def judged(tables: Mapping[str, pa.Table], model_id: str, right: int, n: int) -> list[Label]:
    """Judgements of segments that the model calls angry, of which so many were."""
    contact = tables["calls"]["contact_id"][0].as_py()
    heard = [("angry", "negative") if number < right else ("sad", "negative") for number in range(n)]
    return [
        Label(
            DAY, contact, "customer", float(number), number + 2.0, *said, "heron", "flagged", 3.0, *view, GENERATED_AT
        )
        for number, said in enumerate(heard)
        for view in [(model_id, "angry", 0.7)]
    ]


def test_the_report_says_how_right_the_days_model_was_by_those_who_listened(
    tables: dict[str, pa.Table], place: Path
) -> None:
    context = published(place, DAY, tables)
    labels = Labels(LocalStorage(place / "warehouse"))
    for label in judged(tables, "another-model", 30, 30) + judged(tables, "m-1-00000000", 22, 29):
        labels.add(label)
    names = (f"{DAY}/nightly.html", f"{DAY}/nightly-summary.html")

    def says(sentence: str) -> bool:
        render_report.run(context)
        return all(sentence in " ".join(Page(files(place)[name].decode()).text.split()) for name in names)

    assert says("It is not yet measured on your calls: 29 of its segments are judged, and from 30 on it is.")
    labels.add(replace(judged(tables, "m-1-00000000", 0, 1)[0], start_s=99.0))
    assert says("without the model's view: Of 30 flagged segments heard, 22 were really angry: 73% (56 to 86). Recall")


def run_figures(runs: pa.Table) -> RunFigures:
    row = runs.to_pylist(maps_as_pydicts="strict")[0]
    names = ("model_id", "code_version", "planned", "scored", "quarantined", "skipped", "suppressed", "ignored")
    names += ("audio_hours", "step_seconds", "coverage", "scored_of_planned", "status", "kind")
    return RunFigures(**{name: row[name] for name in names})


def test_accuracy_is_said_as_the_card_has_it() -> None:
    result = {"corpus": "ravdess", "speakers": ["17", "18"], "uar": 0.66, "uar_interval": [0.61, 0.712]}
    result["recall"] = dict.fromkeys(("neutral", "calm", "happy", "sad"), 0.5)
    metrics = {"results": [{**result, "condition": "clean", "uar": 0.9}, {**result, "condition": "g711"}]}
    assert render_report.accuracy(metrics) == (
        "Of acted speech of RAVDESS by 2 speakers whom it never heard, through telephone coding, it recognizes 66% of "
        "each emotion on average (95% interval 61% to 71%; guessing gives 25%)."
    )
    assert render_report.accuracy({}) is None


# The demo's summary


def summary(tables: Mapping[str, pa.Table], **console: Any) -> str:
    out = StringIO()
    print_summary(
        tables,
        seconds=90.0,
        report=Path("out/reports/2026-11-20/nightly.html"),
        warehouse=Path("my out/warehouse"),
        console=Console(file=out, width=60, **console),
    )
    return out.getvalue()


def test_summary_says_what_the_tables_say(tables: dict[str, pa.Table]) -> None:
    text = summary(tables)
    view = night(tables)
    assert "29 planned: 24 scored, 3 quarantined, 2 skipped" in text
    for line in view.not_scored:
        assert f"{line.amount} " in text
        assert line.reason.why in text
    for each in view.to_hear[:5]:
        assert f"{each.rank}. {each.call.contact_id}" in text
    assert f"satisfaction index {view.total.index.mean:.0f} (95% interval" in text
    assert view.run is not None
    assert f"{40 * view.run.audio_hours:.0f} call hours an hour" in text
    assert "out/reports/2026-11-20/nightly.html\n" in text
    assert "make sql OUT='my out' Q=\"select queue" in text, "the query is one line that can be copied"


def test_summary_is_plain_where_it_is_no_terminal(tables: dict[str, pa.Table]) -> None:
    plain, colored = summary(tables), summary(tables, force_terminal=True, color_system="truecolor")
    assert "\x1b" not in plain
    assert "\x1b[" in colored
    assert re.sub(r"\x1b\[[\d;]*m", "", colored) == plain


def test_summary_of_an_empty_day() -> None:
    text = summary(made_up_night(calls=0, odd=(), unrecorded=0))
    assert "0 planned" in text
    assert "Moods" not in text
    assert "Speed" not in text


def test_summary_shows_names_as_they_are() -> None:
    text = summary(made_up_night(queues=(EVIL + "[red]",)))
    assert words.printable(EVIL) + "[red]" in text
    assert "\x1b" not in text


def test_importing_the_report_brings_no_statistics_that_it_needs_none_of() -> None:
    """scipy.stats takes most of a second to import, and each night's last step would wait for it."""
    code = "import sys, reporting.report; print(sorted({'scipy.stats', 'pandas', 'statsmodels'} & set(sys.modules)))"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
