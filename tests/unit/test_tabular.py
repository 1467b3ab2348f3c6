"""Tabular files: what is a row in each format, what is none, where files are looked for, and what reading costs."""

from __future__ import annotations

import gzip
import io
import json
import logging
import re
import tracemalloc
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs import tabular
from jobs.errors import SettingsError, StorageAccessDenied
from jobs.settings import Settings, StoreSettings, load_settings
from jobs.storage import LocalStorage
from jobs.tabular import BadRow, Columns, Complain, Reading, Row, read_places

DAYS = [date(2026, 11, 20), date(2026, 11, 21)]
COLUMNS = Columns(wanted=("id", "n", "a.b"), required=(("id",),))
Wrong = list[tuple[int, str]]


def some_settings(folder: str | Path = "/tmp") -> Settings:
    places = dict.fromkeys(("staging", "warehouse", "reports"), str(folder))
    return load_settings(recordings="s3://b", identity_key="k" * 32, **places)


def read(place: str | Path) -> tuple[list[Row], Reading]:
    rows: list[Row] = []

    def take(row: Row, _: Complain) -> None:
        rows.append(row)

    return rows, read_places(str(place), DAYS, some_settings(), COLUMNS, take)


def rows_of(name: str, content: bytes) -> tuple[list[Row], Wrong]:
    """A file's rows, and the numbers and problems of those that are none; raises what reading raises."""
    found = list(tabular._rows(name, io.BytesIO(content), COLUMNS))
    wrong = [(number, str(row)) for number, row in found if isinstance(row, BadRow)]
    return [row for _, row in found if not isinstance(row, BadRow)], wrong


def parquet(rows: Mapping[str, Any] | pa.Table) -> bytes:
    file = io.BytesIO()
    pq.write_table(rows if isinstance(rows, pa.Table) else pa.table(rows), file)
    return file.getvalue()


TWO = [{"id": "x", "n": 1}, {"id": "ü", "n": 2}]
TWO_AS_TEXT = [{"id": "x", "n": "1"}, {"id": "ü", "n": "2"}]
LINES = "\n".join(json.dumps(row, ensure_ascii=False) for row in TWO).encode()
PRETTY = "\n".join(json.dumps(row, indent=2, ensure_ascii=False) for row in TWO).encode()

TEXTS = [
    ("r.jsonl", LINES, TWO),
    ("r.ndjson", LINES + b"\n", TWO),
    ("R.JSONL", LINES.replace(b"\n", b"\r\n"), TWO),
    ("no extension, as Firehose names them", LINES.replace(b"\n", b""), TWO),
    ("r.json", LINES.replace(b"\n", b" "), TWO),
    ("bom.json", b"\xef\xbb\xbf" + LINES, TWO),
    ("blank lines.json", b"\n \n" + LINES.replace(b"\n", b"\n\n\t\n") + b"\n\n", TWO),
    ("array.json", b"[" + LINES.replace(b"\n", b",") + b"]", TWO),
    ("array of lines.json", b" [\n" + LINES.replace(b"\n", b",\n") + b"\n]\n", TWO),
    ("array and more.json", b"[" + LINES.replace(b"\n", b",") + b"]\n" + LINES, TWO * 2),
    ("commas.json", LINES.replace(b"\n", b",\n"), TWO),
    ("pretty.json", PRETTY, TWO),
    ("separated by 0x1e.json", b"\x1e" + LINES.replace(b"\n", b"\n\x1e"), TWO),
    ("empty.json", b"", []),
    ("empty array.json", b"[]", []),
    ("escapes.json", rb'{"id": "}{\n\"", "n": 1}{"id": "[]", "n": 2}', [{"id": '}{\n"', "n": 1}, {"id": "[]", "n": 2}]),
    ("r.csv", "id,n\nx,1\nü,2\n".encode(), TWO_AS_TEXT),
    ("bom.csv", "\ufeffid,n\r\nx,1\r\nü,2".encode(), TWO_AS_TEXT),
    ("semicolons.csv", "id;n;x,y,z\nx;1;\nü;2;\n".encode(), TWO_AS_TEXT),
    ("tabs.tsv", "id\tn\nx\t1\nü\t2\n".encode(), TWO_AS_TEXT),
    ("many commas in a name.csv", 'id;n;"a,b,c,d"\nx;1;3,5\nü;2;3,5\n'.encode(), TWO_AS_TEXT),
    ("another order.csv", 'other, n ,"id"\n"a\nb", 1,x\n"a ""b""",2,"ü"\n'.encode(), TWO_AS_TEXT),
    ("blank rows.csv", "\n\nid,n\n\nx,1\n,\nü,2\n\n".encode(), TWO_AS_TEXT),
    ("surplus delimiters.csv", "id,n\nx,1,,\nü,2,\n".encode(), TWO_AS_TEXT),
    ("old mac.csv", "id,n\rx,1\rü,2\r".encode(), TWO_AS_TEXT),
    ("dotted.csv", b"id,a.b\nx,1", [{"id": "x", "a.b": "1"}]),
    ("nothing.csv", b"id,n\nx,\n", [{"id": "x", "n": None}]),
    ("header.csv", b"id,n", []),
    ("empty.csv", b"", []),
]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(("name", "content", "expected"), TEXTS, ids=[name for name, *_ in TEXTS])
def test_texts(tmp_path: Path, name: str, content: bytes, expected: list[Row], packed: bool) -> None:
    file = tmp_path / (f"{name}.gz" if packed else name)
    file.write_bytes(gzip.compress(content) if packed else content)
    rows, reading = read(file)
    assert (rows, reading) == (expected, Reading(rows=len(expected)))


@pytest.mark.parametrize(("name", "content", "expected"), TEXTS, ids=[name for name, *_ in TEXTS])
def test_texts_whose_parts_arrive_bit_by_bit(
    name: str, content: bytes, expected: list[Row], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tabular, "_CHUNK_BYTES", 3)
    monkeypatch.setattr(tabular, "MAX_ROW_CHARACTERS", 50)
    assert rows_of(name, content) == (expected, [])


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ({"id": ["x"], "n": [1], "other": [b"\xff"]}, [{"id": "x", "n": 1}]),
        (
            {"id": ["x", None], "a": [{"b": 1, "c": 2}, None]},
            [{"id": "x", "a": {"b": 1, "c": 2}}, {"id": None, "a": None}],
        ),
        ({"id": ["x"], "a.b": [1]}, [{"id": "x", "a.b": 1}]),
        ({"id": pa.array(["x"]).dictionary_encode()}, [{"id": "x"}]),
        ({"id": pa.array([0], pa.timestamp("ms", "UTC"))}, [{"id": datetime(1970, 1, 1, tzinfo=UTC)}]),
        ({"id": pa.array([], pa.string())}, []),
    ],
)
def test_parquet(tmp_path: Path, table: dict[str, Any], expected: list[Row]) -> None:
    (tmp_path / "r.parquet").write_bytes(parquet(table))
    rows, reading = read(tmp_path / "r.parquet")
    assert (rows, reading) == (expected, Reading(rows=len(expected)))


GOOD = b'{"id": "x"}'
LONG = b'{"id": "' + b"x" * 1_000_000 + b'"}'


@pytest.mark.parametrize(
    ("name", "content", "good", "wrong"),
    [
        ("r.json", b"{\n" + GOOD, 1, [(1, "not JSON")]),
        (
            "r.json",
            GOOD + b"\n\ngarbage\n5\n" + GOOD,
            2,
            [(3, "not JSON"), (4, "found a number, expected a JSON object")],
        ),
        ("r.json", GOOD + b'{"id": }' + GOOD + b'{"id"} \t' + GOOD, 3, [(2, "not JSON"), (4, "not JSON")]),
        ("r.json", GOOD + b"\n[]\n" + GOOD, 2, [(2, "found a list, expected a JSON object")]),
        ("r.json", b"[" + GOOD + b", 5, {,}, " + GOOD + b"]", 2, [(2, "found a number"), (3, "not JSON")]),
        ("r.json", b"[" + GOOD + b",\n" + GOOD, 2, [(3, "the array is not closed: the file may be cut off")]),
        ("r.json", b"[" * 100_000 + b"\n" + GOOD, 1, [(1, "not JSON"), (3, "the array is not closed")]),
        ("r.json", GOOD + b"\n" + b"[" * 100_000 + b"\n" + GOOD, 2, [(2, "not JSON")]),
        ("r.json", b'{"id": ' + b"9" * 5000 + b"}\n" + GOOD, 1, [(1, "not JSON")]),
        ("r.json", b'{"id": "\xe9"}' + GOOD, 1, [(1, "not UTF-8")]),
        ("r.json", b'{"id": "\xed\xa0\x80"}\n' + GOOD, 1, [(1, "not UTF-8")]),
        ("r.json", b"\xff\xfe\n" + GOOD, 1, [(1, "not UTF-8")]),
        ("r.json", b"\0" + GOOD + b"\n" + GOOD, 1, [(1, "not JSON")]),
        ("r.json", GOOD + b'\n{"id": "x', 1, [(2, "not JSON")]),
        ("r.json", LONG + GOOD, 1, [(1, "found a row of over 1,000,000 characters")]),
        ("r.json", LONG * 20 + b"\n" + GOOD, 1, [(number, "found a row of over 1,000,000") for number in range(1, 21)]),
        ("r.json", b"x" * 10_000_000 + b"\n" + GOOD, 1, [(1, "found a row of over 1,000,000 characters")]),
        ("r.json", b'{"a": "' + b"x" * 10_000_000, 0, [(1, "found a row of over 1,000,000 characters")]),
        ("r.csv", b"id,n\nx\nx,1,2\nx,1", 1, [(2, "found 1 cells, expected 2"), (3, "found 3 cells, expected 2")]),
        ("r.csv", b'id,n\n"x"y,1\nx,1', 1, [(2, "not CSV (',' expected after '\"')")]),
        ("r.csv", b'id,n\nx,1\n"x,1\n', 1, [(3, "not CSV (unexpected end of data)")]),
        ("r.csv", b"id,n\n\xe9,1\nx,1", 1, [(2, "not UTF-8")]),
        ("r.csv", b'id,n\n"' + b"x" * 200_000 + b'",1\nx,1', 1, [(2, "not CSV (field larger than field limit")]),
        (
            "r.csv",
            b"id,n\n" + b"x" * 3_000_000 + b"\nx,1",
            1,
            [(2, "not CSV (found a row of over 1,000,000 characters")],
        ),
        (
            "r.parquet",
            parquet({"id": pa.array([0, 2**62, 0], pa.timestamp("us"))}),
            2,
            [(2, "found a value that cannot be read")],
        ),
    ],
)
def test_a_row_that_is_none_does_not_spoil_the_others(name: str, content: bytes, good: int, wrong: Wrong) -> None:
    rows, found = rows_of(name, content)
    assert len(rows) == good
    assert [number for number, _ in found] == [number for number, _ in wrong]
    for (_, says), (_, expected) in zip(found, wrong, strict=True):
        assert says.startswith(expected)


def test_a_row_without_an_end_is_bounded() -> None:
    """A quote that opens and never closes, and a row of ever more cells."""
    for endless, problem in (
        (b'"' + b"y\n" * 600_000, "field larger"),
        (b'"' + b'\n","' * 300_000, "found a row of over"),
    ):
        _, wrong = rows_of("r.csv", b"id,n\n" + endless)
        assert wrong[0][1].startswith(f"not CSV ({problem}")


PARQUET = parquet({"id": ["x"] * 1000, "n": range(1000)})


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("r.json.gz", gzip.compress(LINES * 1000, mtime=0)[:-50], "ends before its end"),
        ("r.json.gz", b"\x1f\x8b\x08" + b"\xff" * 100, "gzip file"),
        ("r.csv.gz", gzip.compress(b"id\nx\n", mtime=0)[:-8] + b"\0" * 8, "gzip file is damaged"),
        ("r.json", '{"id": "x"}'.encode("utf-16"), "found UTF-16, expected UTF-8"),
        ("r.csv", "id,n\nx,1".encode("utf-16"), "found UTF-16, expected UTF-8"),
        ("r.csv", b"name,n\nx,1\n", "has no column id among its 2, .* is its first row the header"),
        ("r.csv", b"id,n,id\nx,1,y\n", "has the column id more than once"),
        ("r.csv", b'"id\n', "is no header of a CSV file"),
        ("r.csv", b"x" * 2_000_000, "is no header of a CSV file"),
        ("r.parquet", b"", "is no Parquet file"),
        ("r.parquet", LINES, "is no Parquet file"),
        ("r.parquet", PARQUET[: len(PARQUET) // 2], "is no Parquet file"),
        ("r.parquet", PARQUET[:4] + b"\xff" * 200 + PARQUET[204:], "is no Parquet file"),
        ("r.parquet.gz", gzip.compress(PARQUET, mtime=0), "is no Parquet file"),
        ("r.parquet", parquet({"name": ["x"]}), "has no column id among its 1"),
        ("r.xlsx", b"PK", "found a file of another kind, expected JSON"),
    ],
)
def test_a_file_that_is_not_what_it_should_be(
    tmp_path: Path, name: str, content: bytes, says: str, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / name).write_bytes(content)
    _, reading = read(tmp_path / name)
    (problem,) = reading.unreadable
    assert re.match(f"{name}: .*{says}", problem), problem
    assert problem in caplog.messages


def test_a_file_that_unpacks_to_out_of_proportion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tabular, "_UNPACKED_FREE_BYTES", 1_000_000)
    (tmp_path / "bomb.json.gz").write_bytes(gzip.compress(b" " * 30_000_000))
    (tmp_path / "records.json.gz").write_bytes(gzip.compress(b"\n".join(b'{"id": %d}' % n for n in range(200_000))))
    rows, reading = read(tmp_path)
    assert [problem.partition(",")[0] for problem in reading.unreadable] == [
        "bomb.json.gz: the gzip file unpacks to over 200 times its size"
    ]
    assert len(rows) == 200_000


@pytest.mark.parametrize("name", ["r.json", "r.json.gz", "r.csv", "one line.json"])
def test_a_large_file_is_not_held_in_memory(tmp_path: Path, name: str) -> None:
    header, line = (b"id,n\n", b"x,%0900d\n") if name == "r.csv" else (b"", b'{"id": "x", "n": "%0900d"}')
    content = header + b"".join(line % n + b"\n" * (name == "r.json") for n in range(45_000))
    file = tmp_path / name
    file.write_bytes(gzip.compress(content, 1) if name.endswith(".gz") else content)
    count = 0

    def take(row: Row, _: Complain) -> None:
        nonlocal count
        count += 1
        if count == 1_000:
            tracemalloc.start()

    try:
        reading = read_places(str(file), DAYS, some_settings(), COLUMNS, take)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert reading == Reading(rows=45_000)
    assert peak_bytes < len(content) / 2


def test_the_first_wrong_rows_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "r.json").write_bytes(b"secret\n" * 30)
    (tmp_path / "s.json").write_bytes(b"secret\n")
    assert read(tmp_path)[1] == Reading(rows=31, bad_rows=31)
    named = [f"r.json, row {number}: not JSON; the row is left out" for number in range(1, 21)]
    assert caplog.messages == [
        *named,
        "r.json: 10 more problems are not logged",
        "s.json, row 1: not JSON; the row is left out",
    ]


def test_what_is_wrong_with_a_field_is_reported_by_row(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "r.csv").write_bytes(b"id,n\nx,1\ny,2\n")
    taken = []

    def take(row: Row, complain: Complain) -> None:
        taken.append(row["id"])
        if row["id"] == "y":
            complain("n: found text")

    reading = read_places(str(tmp_path / "r.csv"), DAYS, some_settings(), COLUMNS, take)
    assert (taken, reading) == (["x", "y"], Reading(rows=2, bad_fields=1))
    assert caplog.messages == ["r.csv, row 3: n: found text"]


# Places

FILES = {
    "20/b.csv": b"id\nb",
    "20/a.jsonl": b'{"id": "a"}',
    "20/sub/c.json.gz": gzip.compress(b'{"id": "c"}'),
    "20/sub/stream-1-2026-11-20": b'{"id": "d"}',
    "20/z.parquet": parquet({"id": ["z"]}),
    "20/readme.txt": b"",
    "20/call.wav": b"RIFF",
    "20/_SUCCESS": b"",
    "20/_delta_log/0.json": b"{}",
    "20/.part.csv.crc": b"",
    "21/spark.csv/part-0.csv": b"id\ne",
    "21/empty.csv/_SUCCESS": b"",
    "plain": b'{"id": "f"}',
    "dotted.2026.11/a.json": b'{"id": "g"}',
    "other.txt": b"",
}


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with files, which stands for a bucket, too."""
    for name, content in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)

    def open_storage(location: str, _: StoreSettings) -> LocalStorage:
        assert location.startswith((str(tmp_path), "s3://b"))
        return LocalStorage(location.replace("s3://b", str(tmp_path)))

    monkeypatch.setattr(tabular, "open_storage", open_storage)
    return tmp_path


@pytest.mark.parametrize("root", ["s3://b", "{folder}"])
@pytest.mark.parametrize(
    ("place", "ids", "missing"),
    [
        ("20/a.jsonl", "a", []),
        ("20", "abcdz", []),
        ("20/", "abcdz", []),
        ("%d", "abcdze", []),
        ("%d/a.jsonl", "a", ["21/a.jsonl"]),
        ("20/sub/", "cd", []),
        ("21/spark.csv", "e", []),
        ("21/spark.csv/", "e", []),
        ("21/empty.csv", "", ["21/empty.csv"]),
        ("%d/none", "", ["20/none", "21/none"]),
        ("none.csv", "", ["none.csv"]),
        ("20/a.jsonl/below.csv", "", ["20/a.jsonl/below.csv"]),
        ("plain", "f", []),
        ("dotted.%Y.%m", "g", []),
    ],
)
def test_places(bucket: Path, root: str, place: str, ids: str, missing: list[str]) -> None:
    root = root.format(folder=bucket)
    rows, reading = read(f"{root}/{place}")
    assert "".join(row["id"] for row in rows) == ids
    assert reading.missing == [f"{root}/{place}" for place in missing]
    assert reading.unreadable == []


def test_files_of_other_kinds_are_counted(bucket: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    read("s3://b/20")
    (message,) = caplog.messages
    assert message.startswith("s3://b/20: 2 files of other kinds are passed over; read are JSON (.jsonl")


def test_a_named_file_of_another_kind_cannot_be_read(bucket: Path) -> None:
    assert [problem.partition(",")[0] for problem in read(bucket / "other.txt")[1].unreadable] == [
        "other.txt: found a file of another kind"
    ]


def test_a_bucket_alone_is_a_place(bucket: Path) -> None:
    assert len(read("s3://b")[0]) == 8


def test_the_same_place_of_several_days_is_read_once(bucket: Path) -> None:
    assert len(read(f"{bucket}/dotted.%Y.%m/a.json")[0]) == 1


def test_a_file_that_goes_while_the_place_is_read(bucket: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LocalStorage, "files", lambda *_: iter([tabular_file("20/gone.csv"), tabular_file("plain")]))
    assert read("s3://b/")[0] == [{"id": "f"}]


def tabular_file(path: str) -> Any:
    from jobs.storage import StoredFile

    return StoredFile(path, 1)


@pytest.mark.parametrize(("place", "error"), [("gs://bucket/x", SettingsError), ("\udc80/%Y", SettingsError)])
def test_a_place_that_is_none(place: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        read(place)


def test_a_folder_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configured = some_settings(tmp_path)

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(StorageAccessDenied, match="cannot be read"):
        read_places(str(tmp_path / "r.csv"), DAYS, configured, COLUMNS, lambda *_: None)


# Whatever comes

NAMES = st.sampled_from(["r.json", "r.csv", "r.parquet", "r", "r.json.gz", "r.csv.gz"])
PIECES = st.sampled_from(
    [*(content for _, content, _ in TEXTS), GOOD, b"[", b"]", b"{", b"}", b",", b'"', b"\n", b"\\", b"\xff"]
)
CONTENTS = st.binary(max_size=300) | st.lists(PIECES | st.binary(max_size=5), max_size=12).map(b"".join)


@given(name=NAMES, content=CONTENTS, packed=st.booleans(), at_once=st.integers(1, 100), longest=st.integers(5, 500))
@settings(deadline=None, max_examples=400)
def test_no_bytes_raise_anything_but_our_error(
    name: str, content: bytes, packed: bool, at_once: int, longest: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tabular, "_CHUNK_BYTES", at_once)
        patch.setattr(tabular, "MAX_ROW_CHARACTERS", longest)
        try:
            rows = list(tabular._rows(name, io.BytesIO(gzip.compress(content) if packed else content), COLUMNS))
        except tabular.UnreadableFile:
            return
    assert len(rows) <= len(content)
    numbers = [number for number, _ in rows]
    assert numbers == sorted(set(numbers))


@given(position=st.integers(0, len(PARQUET) - 1), damage=st.binary(min_size=1, max_size=20))
@settings(deadline=None, max_examples=200)
def test_no_damage_of_a_parquet_file_raises_anything_but_our_error(position: int, damage: bytes) -> None:
    content = PARQUET[:position] + damage + PARQUET[position + len(damage) :]
    try:
        rows = list(tabular._rows("r.parquet", io.BytesIO(content), COLUMNS))
    except tabular.UnreadableFile:
        return
    assert len(rows) == 1000


@given(cut=st.integers(0, 500))
@settings(deadline=None)
def test_a_truncated_gzip_file_is_never_taken_for_whole(cut: int) -> None:
    packed = gzip.compress(b"\n".join(b'{"id": %d}' % (n * 7919) for n in range(500)))
    content = packed[: max(2, len(packed) - 1 - cut)]
    with pytest.raises(tabular.UnreadableFile, match="ends before its end"):
        list(tabular._rows("r.json.gz", io.BytesIO(content), COLUMNS))
