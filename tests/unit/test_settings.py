"""Settings: where they come from, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from jobs.errors import SettingsError
from jobs.settings import ROOT, Settings, load_settings, load_store_settings

OTHERS = [
    ROOT / "docker-compose.yml",
    ROOT / "Makefile",
    *(path for path in (ROOT / "tests").rglob("*.py") if path != Path(__file__)),
    *(ROOT / "infra").rglob("*.py"),
    *(ROOT / "infra").rglob("*ockerfile*"),
]
GIVEN = {"recordings": "s3://b", "staging": "st", "warehouse": "wh", "reports": "rep"}


@pytest.fixture(autouse=True)
def _no_settings_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in [name for name in os.environ if name.startswith("CALLMOOD_")]:
        monkeypatch.delenv(name)


def test_defaults_are_careful() -> None:
    settings = load_settings(**GIVEN)
    assert settings.roles == ("customer",)
    assert not (settings.accept_non_commercial or settings.plain_agent_ids or settings.report_by_agent)
    assert settings.attributes == ()
    assert settings.time_zone == "UTC"


def test_a_variable_wins_over_the_file_and_an_argument_over_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "callmood.yaml"
    file.write_text(
        "recordings: s3://from-file\nstaging: from-file\nwarehouse: w\nreports: r\nroles: [customer, agent]\n"
    )
    monkeypatch.setenv("CALLMOOD_SETTINGS_FILE", str(file))
    monkeypatch.setenv("CALLMOOD_STAGING", "from-environment")
    settings = load_settings(reports="argument")
    assert (settings.recordings, Path(settings.staging).name, Path(settings.reports).name) == (
        "s3://from-file",
        "from-environment",
        "argument",
    )
    assert settings.roles == ("customer", "agent")
    assert Path(load_store_settings().warehouse) == ROOT / "w"


def test_lists_are_written_with_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALLMOOD_ROLES", "customer, mixed,customer")
    monkeypatch.setenv("CALLMOOD_ATTRIBUTES", "tier")
    settings = load_settings(**GIVEN)
    assert settings.roles == ("customer", "mixed")
    assert settings.attributes == ("tier",)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"recordings": None}, "CALLMOOD_RECORDINGS"),
        ({"recordings": "/a/folder"}, "CALLMOOD_RECORDINGS"),
        ({"time_zone": "Berlin"}, "CALLMOOD_TIME_ZONE"),
        ({"roles": "customer,boss"}, "CALLMOOD_ROLES"),
        ({"roles": ""}, "CALLMOOD_ROLES"),
        ({"batch_size": 0}, "CALLMOOD_BATCH_SIZE"),
        ({"settings_file": "none.yaml"}, "CALLMOOD_SETTINGS_FILE"),
        ({"s3_endpoint": "localhost:9000"}, "CALLMOOD_S3_ENDPOINT"),
        ({"recordings": "s3:///prefix"}, "CALLMOOD_RECORDINGS"),
        ({"staging": ""}, "CALLMOOD_STAGING: expected s3://bucket/prefix or the path of a folder"),
        ({"warehouse": "s3://"}, "CALLMOOD_WAREHOUSE: expected s3://bucket/prefix or the path of a folder"),
        ({"reports": "gs://bucket"}, "CALLMOOD_REPORTS: expected s3://bucket/prefix or the path of a folder"),
        ({"retention_days": {"calls": 10**9}}, r"CALLMOOD_RETENTION_DAYS \(calls\): "),
        ({"staging_days": 10**9}, "CALLMOOD_STAGING_DAYS"),
        ({"features_days": 10**9}, "CALLMOOD_FEATURES_DAYS"),
        ({"report_days": 10**9}, "CALLMOOD_REPORT_DAYS"),
        ({"notify_days": 10**9}, "CALLMOOD_NOTIFY_DAYS"),
        ({"replaced_files_grace_s": float("inf")}, "CALLMOOD_REPLACED_FILES_GRACE_S"),
        ({"queues": {"Sales": {"coverage": 0.8}}}, r"CALLMOOD_QUEUES \(Sales\.coverage\): "),
    ],
)
def test_a_wrong_setting_is_named(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        load_settings(**{**GIVEN, **wrong})


def test_an_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "S3_ENDPOINT",
        "CONTACTS",
        "ROLES",
        "TIME_ZONE",
        "RETENTION_DAYS",
        "IDENTITY_KEY_FILE",
        "SETTINGS_FILE",
    ):
        monkeypatch.setenv(f"CALLMOOD_{name}", "")
    settings = load_settings(**GIVEN)
    assert (settings.s3_endpoint, settings.contacts, settings.identity_key_file) == (None, None, None)
    assert (settings.roles, settings.time_zone, settings.retention_days) == (("customer",), "UTC", {})
    monkeypatch.setenv("CALLMOOD_WAREHOUSE", "")
    with pytest.raises(SettingsError, match="CALLMOOD_WAREHOUSE: Field required"):
        load_store_settings()


@pytest.mark.parametrize("name", ["RETENTION_DAYS", "QUEUES", "CONTACT_COLUMNS"])
def test_a_variable_that_is_no_json_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"CALLMOOD_{name}", "{'Sales': secret}")
    with pytest.raises(SettingsError, match=f"CALLMOOD_{name}: expected JSON") as refused:
        load_settings(**GIVEN)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("variable", "expected"),
    [
        ("CALLMOOD_TIMEZONE", "CALLMOOD_TIME_ZONE"),
        ("CALLMOOD_RETENTION_DAY", "CALLMOOD_RETENTION_DAYS"),
        ("CALLMOOD_ROLE", "CALLMOOD_ROLES"),
        ("CALLMOOD_COVERAGE_PUBLISH", "CALLMOOD_COVERAGE_PUBLISHED"),
    ],
)
def test_a_variable_that_is_nearly_a_settings_is_refused(
    variable: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "90")
    for load in (lambda: load_settings(**GIVEN), lambda: load_store_settings(warehouse="wh")):
        with pytest.raises(SettingsError, match=rf"{variable}: there is no such setting; expected {expected}\?"):
            load()


def test_other_variables_of_the_project_are_none_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the containers, the stack and the tests."""
    for name in sorted(set(re.findall(r"(?<!_)CALLMOOD_[A-Z_]+[A-Z]", "".join(map(Path.read_text, OTHERS))))):
        if name.removeprefix("CALLMOOD_").lower() not in Settings.model_fields:
            monkeypatch.setenv(name, "1")
    assert load_settings(**GIVEN).time_zone == "UTC"


def test_an_unknown_setting_in_the_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "callmood.yaml"
    file.write_text("timezone: Europe/Berlin\n")
    with pytest.raises(SettingsError, match="TIMEZONE"):
        load_settings(**GIVEN, settings_file=str(file))


@pytest.mark.parametrize(
    ("key", "message"),
    [({}, "IDENTITY_KEY_FILE"), ({"identity_key": "short"}, "16"), ({"identity_key_file": "none"}, "none")],
)
def test_hashing_needs_a_key(key: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        load_settings(**GIVEN, **key).identity_secret()


def test_the_key_never_shows(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("0123456789abcdef0123456789abcdef\n")
    settings = load_settings(**GIVEN, identity_key_file=str(file), identity_key=None)
    assert settings.identity_secret() == b"0123456789abcdef0123456789abcdef"
    assert "0123456789abcdef" not in repr(load_settings(**GIVEN, identity_key="0123456789abcdef"))


def test_the_reference_is_current() -> None:
    from jobs.settings import ROOT, configuration_reference

    assert (ROOT / "docs" / "configuration.md").read_text() == configuration_reference(), "run make docs"


@pytest.mark.parametrize("content", [b"a: [", b"- a", b"\xff\x00", b"just text"])
def test_a_file_that_is_no_settings_is_refused_in_words(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "callmood.yaml"
    file.write_bytes(content)
    with pytest.raises(SettingsError, match="CALLMOOD_"):
        load_settings(**GIVEN, settings_file=str(file))


def test_a_relative_path_is_the_same_place_in_every_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {**GIVEN, "contacts": "records/%Y.jsonl", "identity_key_file": "key", "golden_set": "clips"}
    here = load_settings(**given)
    monkeypatch.chdir(tmp_path)
    assert load_settings(**given) == here
    assert (here.identity_key_file, here.golden_set) == (ROOT / "key", ROOT / "clips")
    assert Path(here.staging) == ROOT / "st"
    assert load_settings(**{**GIVEN, "staging": "s3://b/st"}).staging == "s3://b/st"
