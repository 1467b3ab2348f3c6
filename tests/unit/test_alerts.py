"""Rules are checked to the letter, alerts are what the rules say, and a day's alerts are replaced as a whole."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from jobs import alerts, notifications
from jobs.alert_rules import CallRule, QueueRule, load_rules
from jobs.alerts import apply_rules, raise_alerts
from jobs.due_days import _is_undone
from jobs.errors import NotPublished, SettingsError
from jobs.notifications import Sent, is_recent, pending
from jobs.person import Person, find
from jobs.release import last_figures
from jobs.settings import Settings
from jobs.staging import RunStaging
from jobs.storage import LocalStorage
from jobs.suppressions import Suppressed, Suppressions
from jobs.warehouse import DAY_TABLES, RunFigures, Warehouse
from schemas import TABLES
from schemas import definitions as d
from tests.unit.made_up_nights import DAY, made_up_night

SHIPPED = Path(alerts.__file__).parent / "alert_rules.yaml"
ON_ANGER = {
    "name": "anger",
    "of": "calls",
    "says": "angry",
    "column": "anger_peak",
    "at_least": 0.6,
    "severity": "note",
}
ON_QUEUES = {
    "name": "worse",
    "of": "queues",
    "says": "more negative speech than is usual",
    "column": "negative_share",
    "side": "above",
    "least": 0.03,
    "severity": "ticket",
}


def without(rule: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in rule.items() if name not in names}


def file_of(folder: Path, *rules: Mapping[str, Any]) -> Path:
    (path := folder / "rules.yaml").write_text(json.dumps({"rules": rules}))
    return path


# The rules' file


def test_the_shipped_rules_are_the_review_reasons_limits_and_one_on_queues() -> None:
    limits = {rule.name: rule.threshold for rule in load_rules(SHIPPED) if isinstance(rule, CallRule)}
    assert limits == {
        "sustained_anger": d.SUSTAINED_ANGER_PEAK,
        "escalated": 1.0,
        "mood_fall": d.MOOD_FALL,
        "long_silence": d.LONG_SILENCE_S,
    }
    assert [rule.name for rule in load_rules(SHIPPED) if isinstance(rule, QueueRule)] == ["queue_negative_share"]


@pytest.mark.parametrize(
    ("rules", "says"),
    [
        ([ON_ANGER | {"at_lest": 1}], "rule anger, at_lest: Extra inputs are not permitted"),
        (
            [without(ON_ANGER, "at_least")],
            "rule anger: .*found no limit; of column anger_peak expected one of at_least",
        ),
        ([ON_ANGER | {"at_most": 0.1}], "rule anger: .*found at_least, at_most"),
        ([ON_ANGER | {"column": "temper"}], "rule anger: .*'temper', which calls does not have"),
        ([ON_ANGER | {"column": "queue"}], "rule anger: .*neither a number nor true or false"),
        ([ON_ANGER | {"column": "escalated"}], "rule anger: .*of column escalated expected one of equals"),
        ([ON_ANGER | {"at_least": "0.6"}], "rule anger, at_least: Input should be a valid number"),
        ([ON_ANGER | {"severity": "urgent"}], "rule anger, severity: Input should be 'note', 'ticket' or 'page'"),
        ([ON_ANGER | {"of": "agents"}], "rule anger: of: expected calls or queues"),
        ([without(ON_ANGER, "of")], "rule anger: of: expected calls or queues"),
        ([without(ON_ANGER, "name")], "rule 1, name: Field required"),
        ([ON_ANGER | {"name": "An id?"}], "rule An id.*, name: String should match"),
        ([ON_ANGER, ON_ANGER], "anger: more than one rule has this name"),
        ([ON_QUEUES | {"column": "queue"}], "rule worse: .*expected one of negative_share, index_mean"),
        ([ON_QUEUES | {"min_days": 40}], "rule worse: .*min_days is 40, more than days, 28"),
        ([ON_QUEUES | {"min_calls": 4}], "rule worse, min_calls: .*greater than or equal to 5"),
        ([ON_ANGER | {"expected_precision": {"share": 0.4}}], "rule anger, expected_precision, model: Field required"),
    ],
)
def test_a_mistake_is_named_with_its_rule(tmp_path: Path, rules: list[dict[str, Any]], says: str) -> None:
    with pytest.raises(SettingsError, match=f"(?s)CALLMOOD_ALERT_RULES.*{says}"):
        load_rules(file_of(tmp_path, *rules))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "cannot be read .No such file"),
        ("rules: [", "is no YAML at line"),
        ("- a", "is wrong"),
        ("{}", "rules: Field required"),
    ],
)
def test_what_is_no_file_of_rules_is_said(tmp_path: Path, content: str | None, says: str) -> None:
    if content is not None:
        (tmp_path / "rules.yaml").write_text(content)
    with pytest.raises(SettingsError, match=says):
        load_rules(tmp_path / "rules.yaml")


# What they raise


def rules_of(folder: Path, *rules: Mapping[str, Any]) -> Any:
    return load_rules(file_of(folder, *rules))


def raised(rules: Any, night: Mapping[str, pa.Table], **others: Any) -> pa.Table:
    before = others.get("before", TABLES["satisfaction_daily"].empty())
    published = others.get("published", TABLES["alerts"].empty())
    return raise_alerts(rules, night["calls"], night["satisfaction_daily"], before, published, "run-1")


@pytest.mark.parametrize(
    ("limit", "column", "met"),
    [
        ({"at_least": 0.6}, "anger_peak", lambda value: value >= 0.6),
        ({"at_most": -0.2}, "mood_change", lambda value: value <= -0.2),
        ({"equals": True}, "escalated", lambda value: value),
        ({"equals": False}, "recovered", lambda value: not value),
        ({"at_least": 240, "queues": ["Billing"]}, "duration_s", lambda value: value >= 240),
    ],
)
def test_a_call_that_meets_a_rule_raises_an_alert(tmp_path: Path, limit: Any, column: str, met: Any) -> None:
    night = made_up_night(calls=60)
    rule = without(ON_ANGER, "at_least") | limit | {"column": column}
    found = raised(rules_of(tmp_path, rule), night)
    expected = {
        row["contact_id"]
        for row in night["calls"].to_pylist()
        if row[column] is not None and met(row[column]) and (row["queue"] in limit.get("queues", [row["queue"]]))
    }
    assert 0 < len(expected) < night["calls"].num_rows
    assert set(found["contact_id"].to_pylist()) == expected
    assert set(found["scope"].to_pylist()) == {"call"}
    assert found["usual"].null_count == found.num_rows
    TABLES["alerts"].check(found)


def test_an_alert_that_is_raised_again_keeps_its_time(tmp_path: Path) -> None:
    rules, night = rules_of(tmp_path, ON_ANGER), made_up_night()
    first = raised(rules, night)
    assert first.num_rows > 1
    known = first.slice(1)
    again = raised(rules, night, published=known)
    assert again.slice(1).equals(known)
    assert again["raised_at"][0].as_py() > first["raised_at"][0].as_py()


@pytest.mark.parametrize(("model", "expected"), [("", 0.44), ("another-", None)])
def test_an_expected_precision_is_of_one_model(tmp_path: Path, model: str, expected: float | None) -> None:
    night = made_up_night()
    (heard,) = set(night["calls"]["model_id"].drop_null().to_pylist())
    known = {"share": 0.44, "model": model + heard[:8], "source": "a report"}
    found = raised(rules_of(tmp_path, ON_ANGER | {"expected_precision": known}), night)
    assert set(found["expected_precision"].to_pylist()) == {expected}


def days_of(shares: list[float], calls: int = 100, queue: str = "Billing") -> pa.Table:
    """Rows of satisfaction_daily of a queue, a day after the other; the last is DAY."""
    rows = [
        {name: 0 for name in TABLES["satisfaction_daily"].schema.names if name.startswith(("contacts", "calls"))}
        | {"index_sum": 0.0, "index_sumsq": 0.0, "scope": "queue", "queue": queue}
        | {"call_date": DAY - timedelta(days=len(shares) - 1 - number), "calls_indexed": calls, "negative_share": share}
        for number, share in enumerate(shares)
    ]
    return pa.Table.from_pylist(rows, schema=TABLES["satisfaction_daily"].schema)


STEADY = [0.30, 0.31, 0.29, 0.30, 0.32, 0.28, 0.30, 0.31, 0.29, 0.30, 0.31, 0.29]


@pytest.mark.parametrize(
    ("before", "today", "change", "limit"),
    [
        (STEADY, 0.34, {}, None),  # within 3.5 times the spread
        (STEADY, 0.36, {}, 0.30 + 3.5 * 1.4826 * 0.01),
        (STEADY, 0.36, {"least": 0.10}, None),
        (STEADY, 0.24, {}, None),  # the other side
        (STEADY, 0.24, {"side": "below"}, 0.30 - 3.5 * 1.4826 * 0.01),
        (STEADY[:9], 0.36, {}, None),  # too few days to say what is usual
        ([0.30] * 12, 0.329, {}, None),  # never less than `least`
        ([0.30] * 12, 0.331, {}, 0.33),
        (STEADY, 0.36, {"queues": ["Sales"]}, None),
        (STEADY, 0.36, {"min_calls": 101}, None),
        ([0.9] * 30 + STEADY, 0.36, {"days": 12}, 0.30 + 3.5 * 1.4826 * 0.01),  # older days do not count
    ],
)
def test_a_queue_beyond_what_is_usual_raises_an_alert(
    tmp_path: Path, before: list[float], today: float, change: dict[str, Any], limit: float | None
) -> None:
    rows = days_of([*before, today])
    of_day = pc.field("call_date") == DAY
    night = {"calls": TABLES["calls"].empty(), "satisfaction_daily": rows.filter(of_day)}
    found = raised(rules_of(tmp_path, ON_QUEUES | change), night, before=rows.filter(~of_day)).to_pylist()
    if limit is None:
        assert found == []
        return
    (alert,) = found
    assert (alert["queue"], alert["contact_id"], alert["value"], alert["usual"]) == ("Billing", None, today, 0.30)
    assert alert["threshold"] == pytest.approx(limit)


@pytest.mark.parametrize(
    ("calls", "quiet", "small_jump", "jump"),
    [(30, 0.0025, 0.06, 0.35), (100, 0.0037, 0.28, 0.93), (400, 0.0006, 0.93, 1.0)],
)
def test_steady_queues_are_left_alone_and_a_jump_is_found(
    calls: int, quiet: float, small_jump: float, jump: float
) -> None:
    """Twenty queues for a year, whose calls' shares spread by 0.2 around 0.30; jumps of 0.05 and of 0.10.

    The figures are those of docs/alerts.md: shares of days with an alert.
    """
    (rule,) = (rule for rule in load_rules(SHIPPED) if isinstance(rule, QueueRule))
    chance = np.random.default_rng(7)
    shares = np.clip(chance.normal(0.30, 0.2, (20, 365, calls)), 0, 1).mean(axis=2)
    told: dict[float, list[bool]] = {0.0: [], 0.05: [], 0.10: []}
    for queue in shares:
        for day in range(rule.days, 365):
            usual = rule.usual(queue[day - rule.days : day].tolist())
            assert usual is not None
            for rise, days in told.items():
                days.append(rule.is_met(queue[day] + rise, usual))
    found = [float(np.mean(days)) for days in told.values()]
    assert found == pytest.approx([quiet, small_jump, jump], abs=0.005)


# In a warehouse


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        recordings="s3://recordings",
        staging=str(tmp_path / "staging"),
        warehouse=str(tmp_path / "warehouse"),
        reports=str(tmp_path / "reports"),
        alert_rules=file_of(tmp_path, ON_ANGER),
        identity_key="0123456789abcdef0123456789abcdef",
    )


def publish(settings: Settings, night: Mapping[str, pa.Table], run_id: str, **changes: Any) -> None:
    """Publish a made-up night with the alerts that the rules raise, as summarize_calls does."""
    staging = RunStaging(LocalStorage(settings.staging), DAY, run_id)
    for table in DAY_TABLES:
        staging.write_table(table, night[table.name])
    alerts.stage_alerts(staging, settings)
    row = night["runs"].to_pylist(maps_as_pydicts="strict")[0] | {"status_detail": None}
    figures = last_figures({**row, **changes}, "night")
    assert isinstance(figures, RunFigures)
    Warehouse(LocalStorage(settings.warehouse), secret=settings.identity_secret).publish(staging, figures)


def published(settings: Settings, name: str = "alerts") -> pa.Table:
    return Warehouse(LocalStorage(settings.warehouse)).read(name)


def test_a_day_published_again_has_the_same_alerts(settings: Settings) -> None:
    night = made_up_night()
    publish(settings, night, "run-1")
    first = published(settings)
    assert first.num_rows
    publish(settings, night, "run-2")
    assert published(settings).drop_columns("run_id").equals(first.drop_columns("run_id"))


def test_rules_apply_to_a_published_day_by_a_publication_of_their_own(settings: Settings, tmp_path: Path) -> None:
    publish(settings, made_up_night(), "run-1")
    first = published(settings)
    assert apply_rules(settings, DAY).num_rows == first.num_rows
    assert published(settings, "runs").num_rows == 1, "nothing changed"

    file_of(tmp_path, ON_ANGER | {"at_least": 0})
    assert apply_rules(settings, DAY, dry_run=True).num_rows > first.num_rows
    assert published(settings).equals(first), "a dry run publishes nothing"
    more = apply_rules(settings, DAY)
    assert published(settings).equals(more)
    assert published(settings, "calls").num_rows, "the other tables stay"
    assert published(settings, "runs")["kind"].to_pylist().count("alerts") == 1
    view = Warehouse(LocalStorage(settings.warehouse)).snapshot()
    assert not _is_undone(view, DAY)
    kept = {row["contact_id"]: row["raised_at"] for row in first.to_pylist()}
    assert {row["contact_id"]: row["raised_at"] for row in more.to_pylist()}.items() >= kept.items()
    with pytest.raises(NotPublished, match="make run DATE=2026-01-01"):
        apply_rules(settings, date(2026, 1, 1))


def test_the_command_says_what_was_raised_and_names_nobody(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    publish(settings, made_up_night(), "run-1")
    monkeypatch.setattr(alerts, "load_settings", lambda: settings)
    with caplog.at_level("INFO"):
        assert alerts.main(["--call-date", str(DAY), "--dry-run"]) == 0
    assert "anger (note), Billing: " in caplog.text
    assert not any(contact in caplog.text for contact in published(settings)["contact_id"].to_pylist())
    assert alerts.main(["--call-date", "2026-01-01"]) == 2


def test_alerts_are_found_with_the_person(settings: Settings) -> None:
    publish(settings, made_up_night(), "run-1")
    contact = published(settings)["contact_id"][0].as_py()
    held = find(Person.of([contact]), Warehouse(LocalStorage(settings.warehouse)), LocalStorage(settings.staging))
    assert held.rows["alerts"] == 1


def test_alerts_of_an_erased_contact_go_and_those_of_queues_stay(tmp_path: Path) -> None:
    night = made_up_night()
    rows = days_of([*STEADY, 0.9])
    of_day = pc.field("call_date") == DAY
    both = {"calls": night["calls"], "satisfaction_daily": rows.filter(of_day)}
    found = raised(rules_of(tmp_path, ON_ANGER, ON_QUEUES), both, before=rows.filter(~of_day))
    gone = found.filter(pc.field("scope") == "call")["contact_id"][0].as_py()
    secret = b"0123456789abcdef"
    erased = Suppressions([Suppressed.of(secret, contacts=[gone], at=datetime.now(UTC))], secret)
    left = erased.without(found)
    assert left.num_rows == found.num_rows - 1
    assert gone not in left["contact_id"].to_pylist()
    assert left["scope"].to_pylist().count("queue") == 1


# What is said of them


def titles(settings: Settings, channel: str = "smtp:a", **options: Any) -> list[str]:
    return [each.title for each in pending(settings, DAY, channel, parts=["night"], **options)]


def send(settings: Settings, channel: str = "smtp:a") -> None:
    sent = Sent(Warehouse(LocalStorage(settings.warehouse)), DAY, channel)
    for each in pending(settings, DAY, channel):
        sent.add(each.about, each.mark)


def test_a_day_published_again_says_only_what_is_new(settings: Settings, tmp_path: Path) -> None:
    night = made_up_night(calls=60)
    publish(settings, night, "run-1")
    number = published(settings).num_rows
    assert titles(settings) == [f"{number} alerts on {DAY}"]
    send(settings)
    assert titles(settings) == []
    assert titles(settings, "smtp:b") == [f"{number} alerts on {DAY}"], "another channel has not said it"
    publish(settings, night, "run-2")
    assert titles(settings) == []
    file_of(tmp_path, ON_ANGER | {"at_least": 0})
    new = apply_rules(settings, DAY).num_rows - number
    assert titles(settings) == [f"{new} more alerts on {DAY}"]
    send(settings)
    assert titles(settings) == []


@pytest.mark.parametrize(("calls", "says"), [(24, "(note), 24 calls: angry"), (4, "(note), some calls: angry")])
def test_a_notification_names_nobody_and_tells_little_of_few(
    settings: Settings, tmp_path: Path, calls: int, says: str
) -> None:
    file_of(tmp_path, ON_ANGER | {"at_least": 0})
    publish(settings, made_up_night(calls=calls), "run-1")
    alerts = published(settings)
    assert alerts.num_rows
    (said,) = pending(settings, DAY, "c", parts=["night"])
    assert says in said.body
    assert "was not measured for this model" in said.body
    assert not any(contact in said.body for contact in alerts["contact_id"].to_pylist())
    allowed = settings.model_copy(update={"alerts_name_contacts": True})
    (said,) = pending(allowed, DAY, "c", parts=["night"])
    assert alerts["contact_id"][0].as_py() in said.body


@pytest.mark.parametrize(("at_least", "said"), [("note", ["ticket", "note"]), ("ticket", ["ticket"]), ("page", [])])
def test_a_channel_says_what_is_severe_enough_and_a_thin_day_is_a_ticket(
    settings: Settings, at_least: Any, said: list[str]
) -> None:
    thin = {"status": "published_degraded", "status_detail": "coverage 91% (20 of 22)"}
    publish(settings, made_up_night(), "run-1", **thin)
    found = pending(settings, DAY, "c", at_least, ["night"])
    assert [each.severity for each in found] == said
    if said:
        assert "coverage 91%" in found[0].body
        assert f"make run DATE={DAY}" in found[0].body


def test_the_summary_edition_is_sent_once_with_its_sentences(settings: Settings) -> None:
    night = made_up_night(calls=30)
    publish(settings, night, "run-1")
    assert pending(settings, DAY, "c", parts=["report"]) == [], "there is no page yet"
    LocalStorage(settings.reports).write(f"{DAY}/nightly-summary.html", b"<html>page</html>")
    linked = settings.model_copy(update={"reports_link": "https://reports.example.com/"})
    (said,) = pending(linked, DAY, "c", parts=["report"])
    assert said.body.startswith("The satisfaction index was ")
    assert said.body.endswith(f"The page: https://reports.example.com/{DAY}/nightly-summary.html")
    assert said.page is not None
    assert said.page.html == "<html>page</html>"
    send(settings, "c")
    assert pending(settings, DAY, "c") == []


def test_nights_of_long_ago_say_nothing(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = datetime(2026, 11, 27, 3, tzinfo=UTC)
    assert is_recent(settings, date(2026, 11, 20), now)
    assert not is_recent(settings, date(2026, 11, 19), now)

    publish(settings, made_up_night(), "run-1")
    monkeypatch.setattr(notifications, "load_settings", lambda: settings)
    given = ["--call-date", str(DAY), "--channel", "c", "--part", "night"]

    def said(*more: str) -> list[dict[str, Any]]:
        assert notifications.main([*given, *more]) == 0
        found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
        return found

    (alert,) = said()
    assert alert["severity"] == "note"
    monkeypatch.setattr(notifications, "is_recent", lambda *_: False)
    assert said("--recent") == []
    said("--sent", alert["about"], alert["mark"])
    assert said() == []
