"""Keys, model cards and networks of whatever content: each is read, or refused by an error of ours.

The same is tested of audio (test_formats.py), of tables and of contact records where they are; ``make fuzz`` runs all
of these on random bytes for as long as it is told to (tests/fuzz.py).
"""

from __future__ import annotations

import tempfile
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from small_models import card_values, network, write_model

from jobs.erase import spellings
from jobs.errors import StorageAccessDenied
from jobs.layouts import YEARS, is_audio, local_date, read_layouts
from jobs.person import Person
from jobs.storage import LocalStorage
from ser_model.classifier import Classifier, ModelCard
from ser_model.errors import SerModelError

ODD = st.sampled_from(
    [
        "..",
        "../",
        "/",
        "//",
        "\0",
        "%3A",
        "%2F",
        "%",
        "%%",
        ":",
        " ",
        "\n",
        "ü",
        "e\u0301",
        "\u202e",
        "😀",
        "'",
        '"',
        "<script>",
    ]
)
NAMES = st.lists(ODD | st.text(max_size=12) | st.sampled_from(["c1", "agent", "in", "out"]), max_size=6).map("".join)
TIMES = st.from_regex(r"\d{8}T\d\d(:|%3A|_|)\d\d(_UTC)?", fullmatch=True) | NAMES
KEYS = st.builds(
    "{}{}_{}{}".format,
    st.sampled_from(["", "CallRecordings/2026/11/20/", "a/"]),
    NAMES,
    TIMES,
    st.sampled_from(["", ".wav", ".mp3"]),
) | st.text(max_size=1100)
LAYOUTS = read_layouts(
    [
        "amazon-connect",
        {
            "kind": "paired-mono",
            "name": "pairs",
            "pattern": r"^(?P<contact_id>[^@]+)@(?P<time>\d{8}T\d{4})-(?P<role>in|out)\.wav$",
            "time_format": "%Y%m%dT%H%M",
            "time_zone": "America/Sao_Paulo",
            "roles": {"in": "customer", "out": "agent"},
        },
        {"name": "ids", "pattern": r"(?P<agent>\w+)/(?P<contact_id>.+)\.wav$"},
    ],
    ZoneInfo("Europe/Berlin"),
    "s3://bucket/below",
)


@given(key=KEYS, quoted=st.booleans())
@settings(deadline=None, max_examples=300)
def test_any_key_is_read_or_is_none(key: str, quoted: bool) -> None:
    key = quote(key) if quoted else key
    is_audio(key)
    found = LAYOUTS.match(key)
    if found is None:
        return
    layout, says = found
    assert says.contact_id
    assert set(layout.channel_roles(says)) <= {"customer", "agent", "mixed"}
    if says.started_at is not None:
        assert says.started_at.utcoffset() == timedelta(0)
        assert abs(local_date(says.started_at, LAYOUTS.zone).year - says.started_at.year) <= 1
        assert says.started_at.year in range(YEARS.start - 1, YEARS.stop + 1)
    LAYOUTS.day(f"s3://bucket/below/{key}", date(2026, 11, 20))
    # Whose name it is can be searched for, whatever it holds.
    person = Person(contacts=frozenset({says.contact_id}), customers=frozenset(), objects=frozenset({key}))
    assert spellings(person).search(f"about {key} it is".encode(errors="surrogatepass"))


@given(path=KEYS)
@settings(deadline=None, max_examples=200)
def test_any_path_stays_in_its_location_or_is_refused(path: str) -> None:
    storage = LocalStorage("/nowhere/below")
    try:
        file = storage._file(path)
    except StorageAccessDenied:
        return
    parts = file.relative_to("/nowhere/below").parts
    assert ".." not in parts


VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
CARD = card_values(b"")


@given(
    changes=st.dictionaries(st.sampled_from([*sorted(CARD), "languages", "heard_speakers", "x"]), VALUES, max_size=3)
)
@settings(deadline=None, max_examples=300)
def test_any_card_is_one_or_is_refused(changes: dict[str, Any]) -> None:
    try:
        card = ModelCard.from_dict({**CARD, **changes})
    except SerModelError:
        return
    assert ModelCard.from_dict(card.to_dict()) == card
    assert card.model_id


CARD_TEXT = yaml.safe_dump(CARD).encode()
YAML = st.sampled_from([b"&a ", b"*a", b"!!python/object:os.system ", b"!!binary ", b"<<: ", b"? ", b"- ", b"{", b"}"])
ODD_BYTES = YAML | st.sampled_from([b"\0", b"\xff", b"\xef\xbb\xbf", b"\t", b"\n---\n", b"%YAML 9.9\n"])


@given(
    changes=st.lists(st.tuples(st.integers(0, len(CARD_TEXT)), st.integers(0, 9), ODD_BYTES | st.binary(max_size=6)))
)
@settings(deadline=None, max_examples=100)
def test_any_text_of_a_card_is_one_or_is_refused(changes: list[tuple[int, int, bytes]]) -> None:
    text = CARD_TEXT
    for place, replaced, by in changes:
        text = text[:place] + by + text[place + replaced :]
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "model.yaml").write_bytes(text)
        try:
            card = ModelCard.load(Path(folder))
        except SerModelError:
            return
    assert card.model_id


@given(features=st.dictionaries(st.sampled_from(sorted(CARD["features"])), VALUES, min_size=1, max_size=3))
@settings(deadline=None, max_examples=200)
def test_any_features_are_refused_unless_they_have_the_hash(features: dict[str, Any]) -> None:
    try:
        card = ModelCard.from_dict({**CARD, "features": {**CARD["features"], **features}})
    except SerModelError:
        return
    assert card.feature_spec.hash == CARD["feature_hash"]


NETWORK = network().SerializeToString()


@given(
    flips=st.lists(st.tuples(st.integers(0, len(NETWORK) - 1), st.integers(0, 255)), max_size=6),
    cut=st.integers(0, len(NETWORK)),
    more=st.binary(max_size=40),
)
@settings(deadline=None, max_examples=100)
def test_any_network_is_loaded_or_is_refused(flips: list[tuple[int, int]], cut: int, more: bytes) -> None:
    content = bytearray(NETWORK)
    for place, value in flips:
        content[place] = value
    with tempfile.TemporaryDirectory() as folder:
        write_model(Path(folder), bytes(content[:cut]) + more if cut % 3 else bytes(content))
        try:
            classifier = Classifier.load(Path(folder))
        except SerModelError:
            return
        assert repr(classifier)


def test_a_card_whose_references_multiply_takes_no_memory(tmp_path: Path) -> None:
    """YAML's aliases let a kilobyte stand for a galaxy of words, once somebody writes it out."""
    levels = 60
    lines = ["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, levels)]
    (tmp_path / "model.yaml").write_text("\n".join([*lines, f"name: *a{levels - 1}"]))
    with pytest.raises(SerModelError) as refused:
        ModelCard.load(tmp_path)
    assert len(str(refused.value)) < 10_000


@pytest.mark.parametrize("name", [b"batch", b"log_mel", b"logits"])
def test_a_network_with_names_that_are_no_text_is_refused(tmp_path: Path, name: bytes) -> None:
    """Found by fuzzing: ONNX Runtime loads it, and fails when it is asked for the name of an axis."""
    write_model(tmp_path, NETWORK.replace(name, b"\xac" * len(name)))
    with pytest.raises(SerModelError):
        Classifier.load(tmp_path)
