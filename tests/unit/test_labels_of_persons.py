"""Judgements of a person's calls: disclosed and erased, also where nothing else of the call is left."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from jobs.erase import Erasure
from jobs.errors import DamagedFile, ErasureIncomplete
from jobs.labels import Label, Labels
from jobs.person import Person, disclose, in_words
from jobs.settings import Settings, load_settings
from jobs.storage import LocalStorage

DAY = date(2026, 11, 20)
NOW = datetime(2026, 11, 21, 9, tzinfo=UTC)
CONTACT, OTHER = "contact-of-somebody", "contact-of-another"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    places = {name: str(tmp_path / name) for name in ("warehouse", "staging", "reports")}
    return load_settings(recordings="s3://r", identity_key="k" * 32, logs=(str(tmp_path / "logs"),), **places)


@pytest.fixture
def labels(settings: Settings) -> Labels:
    """Two judgements of one contact, one of another; of neither is anything published any more."""
    made = Labels(LocalStorage(settings.warehouse))
    for contact_id, annotator in ((CONTACT, "heron"), (CONTACT, "wren"), (OTHER, "heron")):
        heard = ("customer", 1.0, 3.0, "sad", "negative", annotator, "random", 2.0, "m", "sad", 0.5, NOW)
        made.add(Label(DAY, contact_id, *heard))
    return made


def test_a_person_is_told_of_judgements(settings: Settings, labels: Labels) -> None:
    found = disclose(Person.of([CONTACT]), settings)
    assert [row["annotator"] for row in found["tables"]["labels"]] == ["heron", "wren"]
    assert "labels: 2 rows, each a judgement" in in_words(found)


def test_judgements_are_erased_with_a_certificate_and_others_stay(settings: Settings, labels: Labels) -> None:
    certificate = Erasure(Person.of([CONTACT]), settings).run()
    assert [row["contact_id"] for row in labels.read().to_pylist()] == [OTHER]
    assert ("table labels", 2) in [(place.place, place.count) for place in certificate.places]
    assert disclose(Person.of([CONTACT]), settings)["tables"].get("labels") is None


def test_what_is_still_found_is_not_certified(
    settings: Settings, labels: Labels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Erasure, "_delete_labels", lambda *_: None)
    with pytest.raises(ErasureIncomplete, match="labels"):
        Erasure(Person.of([CONTACT]), settings).run()


@pytest.mark.parametrize("content", [b"no table", b"", b"PAR1" + bytes(400) + b"PAR1", b"PAR1\xff\0\0\0PAR1"])
def test_a_damaged_file_is_named(settings: Settings, labels: Labels, content: bytes) -> None:
    (_, file), *_ = labels.files()
    (Path(settings.warehouse) / file.path).write_bytes(content)
    with pytest.raises(DamagedFile, match=rf"{file.path} is damaged, .* {len(content)} bytes .*restore it from a copy"):
        Labels(LocalStorage(settings.warehouse)).read()
