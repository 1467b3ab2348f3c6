"""The jobs' settings: one typed object, from the environment (``CALLMOOD_...``) and an optional YAML file.

Nothing else in jobs/ reads the environment; credentials of S3 come the AWS way (environment, profile, role) and
never stand here. docs/configuration.md is generated from the descriptions below.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import date
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar
from zoneinfo import ZoneInfo, available_timezones

import yaml
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    YamlConfigSettingsSource,
)
from pydantic_settings import SettingsError as NotJson

from jobs.errors import SettingsError
from schemas import LABELS, TABLES

ROOT = Path(__file__).resolve().parent.parent
Role = Literal["customer", "agent", "mixed"]
TABLES_WITH_A_LIFETIME = (*(name for name in TABLES if name != "runs"), LABELS.name)
"""``runs`` says what was done and holds nothing of anyone: it is kept."""
S = TypeVar("S", bound="StoreSettings")
_S3_PLACE = re.compile(r"s3://[^/]+(/.*)?")
_PREFIX = "CALLMOOD_"
_NEAR = 0.85
"""How like a setting's name another has to be to be taken for a slip (difflib's ratio)."""
_MOST_DAYS = 36_500
"""A hundred years: what is counted from today by more leaves the calendar."""


class StoreSettings(BaseSettings):
    """Where the published tables are: all that a reader of them needs. Every field is ``CALLMOOD_<NAME>``, too."""

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX,
        env_nested_delimiter="__",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
    )

    settings_file: Path | None = Field(
        None, description="a YAML file with any of these settings; a variable of the environment wins over it"
    )
    warehouse: str = Field(description="where the published tables are: a folder or s3://bucket/prefix")
    s3_endpoint: str | None = Field(None, description="the address of an S3 server other than AWS")
    s3_region: str = Field("us-east-1", description="the region of the buckets")
    folder_readers: Literal["owner", "group"] = Field(
        "owner",
        description="who may read warehouse and reports where they are folders: the user whom the jobs run as, or that "
        "user's group, too; staging is the user's alone",
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the signature is pydantic's
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Order of precedence: arguments, the environment, the file that ``settings_file`` names."""
        named = init_settings().get("settings_file") or env_settings().get("settings_file")
        if named is None:
            return init_settings, env_settings
        file = ROOT / named
        if not file.is_file():
            raise SettingsError(f"CALLMOOD_SETTINGS_FILE is {file}, which is not a file; name a YAML file or unset it")
        try:
            return init_settings, env_settings, YamlConfigSettingsSource(settings_cls, yaml_file=file)
        except (yaml.YAMLError, ValueError, TypeError):
            raise SettingsError(
                f"CALLMOOD_SETTINGS_FILE ({file}) is no YAML of names and values; see docs/configuration.md"
            ) from None

    @field_validator("s3_endpoint")
    @classmethod
    def _an_address(cls, endpoint: str | None) -> str | None:
        if endpoint is not None and not re.fullmatch(r"https?://[^/\s]+/?", endpoint):
            raise ValueError("expected an address such as https://s3.example.com or http://127.0.0.1:9000")
        return endpoint

    @field_validator("warehouse", "staging", "reports", "model", check_fields=False)
    @classmethod
    def _one_place(cls, location: str) -> str:
        """Steps start in different folders: a relative path is below the project, wherever a step runs."""
        if not location.strip() or ("://" in location and not _S3_PLACE.fullmatch(location)):
            raise ValueError("expected s3://bucket/prefix or the path of a folder")
        return location if "://" in location else str(ROOT / Path(location).expanduser())


Share = Annotated[float, Field(ge=0, le=1)]
Days = Annotated[tuple[date, ...], NoDecode]


@dataclass(frozen=True)
class Limits:
    """By what a night, or a queue of it, is called whole; the settings of these names say what each means."""

    coverage_published: float
    coverage_degraded: float
    volume_low: float
    holidays: tuple[date, ...]


class QueueSettings(BaseModel):
    """What holds for one queue, where it is another than for the day as a whole."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    coverage_published: Share | None = None
    coverage_degraded: Share | None = None
    volume_low: Share | None = None
    holidays: tuple[date, ...] | None = None


class Settings(StoreSettings):
    """Where things are and what is done with them."""

    model_config = SettingsConfigDict(extra="forbid")

    recordings: str = Field(
        description="where the call recordings are: s3://bucket or s3://bucket/prefix", examples=["s3://recordings"]
    )
    contacts: str | None = Field(
        None,
        description="contact records as JSON, CSV or Parquet (docs/records.md): a local file or folder, an object "
        "s3://bucket/....jsonl, or s3://bucket/prefix (every such object below it); strftime codes in it stand for the "
        "UTC dates of the day; without it no queue, agent or wait is known",
    )
    contact_columns: dict[str, str] = Field(
        {},
        description="where other contact records than Amazon Connect's have the fields: a mapping of the fields' names "
        "to the records' columns (docs/records.md), as JSON in the variable",
    )
    events: str | None = Field(
        None,
        description="call events (contact_id, kind: hold, transfer or pause, start_s, end_s): a place as for contacts",
    )
    surveys: str | None = Field(
        None, description="survey answers (contact_id, score, answered_at): a place as for contacts"
    )
    topics: str | None = Field(
        None,
        description="what a call was about from when to when (contact_id, start_s, end_s, topic): a place as for "
        "contacts",
    )
    records_time_zone: str = Field(
        "UTC", description="the IANA time zone of times in records, events and surveys that name no zone themselves"
    )
    late_days: int = Field(
        7,
        ge=0,
        le=366,
        description="how many days after a call date enrichment looks for records, events and surveys of it, where "
        "their places have strftime codes",
    )
    opt_out_attribute: str | None = Field(
        None,
        description="the contact attribute that says, with true, yes, 1, y or on, that the customer opted out "
        "(docs/records.md)",
    )
    opt_outs: str | None = Field(
        None,
        description="a file or s3://bucket/key with the customer keys of those who opted out, one a line "
        "(python -m jobs.identity makes keys)",
    )
    staging: str = Field(description="where runs keep their tables until publication: a folder or s3://bucket/prefix")
    reports: str = Field(description="where the nightly reports and Data Docs go: a folder or s3://bucket/prefix")
    layouts: Annotated[tuple[str | dict[str, Any], ...], NoDecode] = Field(
        ("amazon-connect",),
        description="the namings of the recordings, the first that fits a key wins (docs/layouts.md): amazon-connect, "
        "or paths of YAML files that describe layouts, separated by commas; in the settings file also descriptions",
    )
    debug_ids: bool = Field(
        False,
        description="let logs name recordings and contacts, and say what unexpected errors said: for who must find a "
        "fault by them; an erasure looks for ids in logs",
    )
    logs: Annotated[tuple[str, ...], NoDecode] = Field(
        (".airflow",),
        description="folders of logs, such as Airflow's and Spark's, separated by commas; an erasure looks into them",
    )
    retention_days: dict[str, Annotated[int, Field(ge=1, le=_MOST_DAYS)]] = Field(
        {},
        description="how many days after its call date a table's day is kept, as JSON: "
        '{"emotion_log": 90, "calls": 730}; tables that are not named are kept (docs/privacy.md)',
    )
    staging_days: int = Field(7, ge=0, le=_MOST_DAYS, description="how many days what a run has staged is kept")
    features_days: int = Field(
        1,
        ge=0,
        le=_MOST_DAYS,
        description="how many days features are kept, of which speech can be rebuilt; publishing deletes a run's own",
    )
    report_days: int | None = Field(
        None,
        ge=1,
        le=_MOST_DAYS,
        description="how many days a day's report and Data Docs are kept; if unset, as long as its calls",
    )
    time_zone: str = Field("UTC", description="the IANA time zone whose calendar days are the call dates")
    model: str = Field(
        str(ROOT / "ser_model" / "models" / "research"), description="the folder of the classifier's model"
    )
    golden_set: Path | None = Field(
        None,
        description="a folder of one-channel WAV clips that watch_model scores again, to see that the model still says "
        "the same of them",
    )
    accept_non_commercial: bool = Field(
        False,
        description="run a model whose weights may not be used commercially: the shipped research model is one; "
        "set it only where that holds, or train your own (docs/model.md)",
    )
    roles: Annotated[tuple[Role, ...], NoDecode] = Field(
        ("customer",),
        description="whose speech is classified, separated by commas. agent: inferring employees' emotions at work is "
        "prohibited in the EU "
        "(AI Act, Article 5(1)(f)). mixed: mono recordings, in which the agent's emotions are included",
    )
    identity_key_file: Path | None = Field(
        None,
        description="the file with the secret that keys the hashes of customers and agents; keep it outside the "
        "warehouse: openssl rand -hex 32 > FILE",
    )
    identity_key: SecretStr | None = Field(None, description="the same secret itself, instead of a file")
    plain_agent_ids: bool = Field(False, description="publish agents' user names instead of keyed hashes")
    report_by_agent: bool = Field(False, description="fill satisfaction_daily with rows for agents")
    attributes: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="the contact attributes to carry into contacts.attributes, separated by commas"
    )
    spark_master: str = Field("local[*]", description="Spark's master, for steps started without spark-submit")
    allow_empty_day: bool = Field(
        False, description="let a day without any scored call replace one that is published with calls"
    )
    coverage_published: Share = Field(
        0.98, description="the coverage (calls scored / contacts expected) from which on a night is `published`"
    )
    coverage_degraded: Share = Field(
        0.90,
        description="the coverage from which on it is `published_degraded`; below, it stops and asks "
        "(docs/operations.md)",
    )
    volume_low: Share = Field(
        0.5,
        description="a night with recordings of less than this share of the contacts that were to be expected is "
        "`volume_low`",
    )
    volume_weeks: int = Field(
        8,
        ge=0,
        le=104,
        description="how many weeks back the same weekday is looked at for what is to be expected, by the median of "
        "its published days; 0: by the day's own contact records alone",
    )
    holidays: Days = Field(
        (), description="days on which few calls or none are no surprise, separated by commas: 2026-12-25,2027-01-01"
    )
    queues: dict[str, QueueSettings] = Field(
        {},
        description="queues that are judged by themselves, too, as JSON: their names, each with what is to be another "
        "than for the day of coverage_published, coverage_degraded, volume_low and holidays, such as "
        '`{"Sales": {"coverage_degraded": 0.8}, "Claims": {}}`',
    )
    lookback_days: int = Field(
        3,
        ge=0,
        le=31,
        description="how many days before its own a night looks at for recordings that came or changed after they were "
        "published; those days are run again",
    )
    quarantine_attempts: int = Field(
        3,
        ge=1,
        description="after how many tries in all later nights leave a quarantined recording alone that might heal "
        "(docs/reason-codes.md)",
    )
    clock_skew_s: int = Field(
        3600,
        ge=0,
        description="seconds by which a recording's times (its key's, when its object was written, its contact "
        "record's) may contradict each other; one whose times contradict by more is quarantined as clock_skew",
    )
    alert_rules: Path = Field(
        ROOT / "jobs" / "alert_rules.yaml",
        description="the YAML file with the rules that raise alerts (docs/alerts.md)",
    )
    alerts_name_contacts: bool = Field(
        False,
        description="let notifications name the contacts of the calls that raised alerts; else they have counts alone, "
        "as the report's summary edition does",
    )
    notify_days: int = Field(
        7,
        ge=0,
        le=_MOST_DAYS,
        description="nights of call dates longer ago than so many days notify nobody, so that a backfill is quiet",
    )
    reports_link: str | None = Field(
        None,
        description="where readers open the reports, such as https://reports.example.com: notifications then link the "
        "summary edition there",
    )
    recording_timeout_s: int = Field(
        300, ge=1, description="seconds that reading one recording may take, once it is fetched"
    )
    worker_memory_mb: int = Field(
        2048,
        ge=256,
        description="resident memory, in MB, above which a process that reads recordings is ended, and the culprit is "
        "looked for (docs/operations.md)",
    )
    partition_mb: int = Field(256, ge=1, description="recordings to a Spark partition, in MB of objects")
    batch_size: int = Field(16, ge=1, le=1024, description="segments to a call of the classifier")
    replaced_files_grace_s: float = Field(
        0.0,
        ge=0,
        le=86_400,
        description="seconds that replaced files stay after publication, for readers still on them",
    )

    @field_validator("time_zone", "records_time_zone")
    @classmethod
    def _known_zone(cls, zone: str) -> str:
        if zone not in available_timezones():
            raise ValueError(f"{zone!r} is no IANA time zone; expected one such as Europe/Berlin")
        return zone

    @field_validator("contacts", "events", "surveys", "topics", "opt_outs")
    @classmethod
    def _one_place_if_any(cls, place: str | None) -> str | None:
        return place and cls._one_place(place)

    @field_validator("alert_rules", "identity_key_file", "golden_set")
    @classmethod
    def _one_path(cls, path: Path | None) -> Path | None:
        return path and ROOT / path.expanduser()

    @field_validator("logs")
    @classmethod
    def _log_places(cls, places: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(cls._one_place, places))

    @field_validator("retention_days")
    @classmethod
    def _tables_with_a_lifetime(cls, days: dict[str, int]) -> dict[str, int]:
        unknown = sorted(set(days) - set(TABLES_WITH_A_LIFETIME))
        if unknown:
            raise ValueError(f"{', '.join(unknown)}: expected some of {', '.join(TABLES_WITH_A_LIFETIME)}")
        return days

    @field_validator("recordings")
    @classmethod
    def _recordings_in_s3(cls, location: str) -> str:
        if not _S3_PLACE.fullmatch(location):
            raise ValueError("expected s3://bucket or s3://bucket/prefix")
        return location.rstrip("/")

    @field_validator("roles", "attributes", "layouts", "holidays", "logs", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("roles")
    @classmethod
    def _some_role(cls, roles: tuple[Role, ...]) -> tuple[Role, ...]:
        if not roles:
            raise ValueError("expected at least one of customer, agent, mixed")
        return tuple(dict.fromkeys(roles))

    @model_validator(mode="after")
    def _coverage_in_order(self) -> Self:
        for name, limits in (("", self.limits()), *((f" of queue {each}", self.limits(each)) for each in self.queues)):
            if limits.coverage_degraded > limits.coverage_published:
                raise ValueError(
                    f"coverage_degraded{name} is {limits.coverage_degraded:g}, expected at most coverage_published, "
                    f"{limits.coverage_published:g}"
                )
        return self

    def limits(self, queue: str | None = None) -> Limits:
        """By what the day as a whole is judged, or one of its queues."""
        own = self.queues.get(queue) if queue is not None else None
        found = {field.name: None if own is None else getattr(own, field.name) for field in fields(Limits)}
        return Limits(**{name: getattr(self, name) if value is None else value for name, value in found.items()})

    @property
    def asks_for_opt_outs(self) -> bool:
        """Whether customers can opt out: by a list, an attribute or a column."""
        return bool(self.opt_outs or self.opt_out_attribute or "opt_out" in self.contact_columns)

    @property
    def zone(self) -> ZoneInfo:
        """The time zone of the call dates."""
        return ZoneInfo(self.time_zone)

    def identity_secret(self) -> bytes:
        """The key of the keyed hashes.

        Raises
        ------
        SettingsError
            Where no key is set, or it is shorter than 16 bytes.
        """
        if self.identity_key is not None:
            secret = self.identity_key.get_secret_value().encode()
        elif self.identity_key_file is not None:
            try:
                secret = self.identity_key_file.read_bytes().strip()
            except OSError as error:
                raise SettingsError(
                    f"CALLMOOD_IDENTITY_KEY_FILE ({self.identity_key_file}) cannot be read ({error.strerror}); "
                    "make one outside the warehouse: openssl rand -hex 32 > FILE"
                ) from None
        else:
            raise SettingsError(
                "no key for the hashes of customers and agents; set CALLMOOD_IDENTITY_KEY_FILE to a file outside "
                "the warehouse: openssl rand -hex 32 > FILE"
            )
        if len(secret) < 16:
            raise SettingsError(
                f"the key for the hashes has {len(secret)} bytes, expected at least 16: openssl rand -hex 32 > FILE"
            )
        return secret


def load_settings(**overrides: Any) -> Settings:
    """Read the settings; ``overrides`` that are not None win over the environment (a step's own arguments).

    Raises
    ------
    SettingsError
        One line a wrong or missing setting.
    """
    return _load(Settings, overrides)


def load_store_settings(**overrides: Any) -> StoreSettings:
    """Read the settings that a reader of the published tables needs; else as `load_settings`."""
    return _load(StoreSettings, overrides)


def _load(kind: type[S], overrides: Mapping[str, Any]) -> S:
    try:
        found = kind(**{name: value for name, value in overrides.items() if value is not None})
        lines = list(_misspelt())
        if not lines:
            return found
    except ValidationError as error:
        lines = [_in_words(problem["loc"] or ("coverage_degraded",), problem["msg"]) for problem in error.errors()]
    except NotJson as error:
        # It says: error parsing value for field "queues" from source ...
        field = str(error).partition('field "')[2].partition('"')[0]
        lines = [_in_words((field,), "expected JSON, as the page shows it")]
    raise SettingsError("settings are missing or wrong (docs/configuration.md):\n  " + "\n  ".join(lines))


def _misspelt() -> Iterator[str]:
    """Say which variables are nearly a setting's, and would be left aside without a word."""
    names = [name.upper() for name in Settings.model_fields]
    for variable in sorted(os.environ):
        name = variable.removeprefix(_PREFIX)
        if name == variable or name in names or not os.environ[variable]:
            continue
        for near in difflib.get_close_matches(name, names, n=1, cutoff=_NEAR):
            yield f"{variable}: there is no such setting; expected {_PREFIX}{near}?"


def _in_words(where: tuple[str | int, ...], message: str) -> str:
    """Of what a setting is wrong: its variable, and, of one that holds others, where in it."""
    name, *inside = map(str, where)
    within = f" ({'.'.join(inside)})" if inside else ""
    return f"{_PREFIX}{name.upper()}{within}: {message.removeprefix('Value error, ')}"


@cache
def code_version() -> str:
    """The commit of the running code, or the version of the package where there is no git checkout."""
    import subprocess

    try:
        found = subprocess.run(
            ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=12"],  # noqa: S607 - as on PATH
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
        return found.stdout.strip()
    except (OSError, subprocess.SubprocessError):
        import tomllib

        return str(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"])


def configuration_reference() -> str:
    """The page docs/configuration.md: every setting with its default and its meaning."""
    lines = [
        "# Configuration",
        "",
        "Made by `make docs` from `jobs/settings.py`; do not edit.",
        "",
        "The jobs read these variables, or the same names without `CALLMOOD_`, in lower case, from the YAML file that",
        "`CALLMOOD_SETTINGS_FILE` names; a variable wins, and one that is empty counts as not set. Credentials of",
        "S3 come the AWS way (environment, profile, role).",
        "Airflow's own options for the DAGs are in [operations](operations.md).",
        "",
        "| variable | default | meaning |",
        "|---|---|---|",
    ]
    for name, field in sorted(Settings.model_fields.items(), key=lambda item: not item[1].is_required()):
        default = "required" if field.is_required() else _default_in_words(field.default)
        lines.append(f"| `CALLMOOD_{name.upper()}` | {default} | {field.description} |")
    return "\n".join(lines) + "\n"


def _default_in_words(default: object) -> str:
    if default is None or default == ():
        return ""
    if isinstance(default, tuple):
        return f"`{','.join(default)}`"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    return f"`{str(default).replace(str(ROOT) + '/', '')}`"


if __name__ == "__main__":
    print(configuration_reference(), end="")  # noqa: T201 - the page
