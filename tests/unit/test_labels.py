"""A company's own labels: pieces of recordings, several annotators a piece, and a reason for every row left out."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile

from ser_model.__main__ import main
from ser_model.corpora import Clip, clip_samples, read_corpus
from ser_model.errors import CorpusError

HEADER = "source_uri,role,channel,start_s,end_s,emotion,speaker,annotator"
MakeTable = Callable[..., Path]


@pytest.fixture
def make_table(tmp_path: Path) -> MakeTable:
    """Writes a table of labels beside a two-channel recording of 10 s, and a copy of it."""
    times_s = np.arange(80_000) / 8000
    sides = [0.5 * np.sin(2 * np.pi * 300 * times_s), 0.1 * np.sin(2 * np.pi * 700 * times_s)]
    (tmp_path / "calls").mkdir()
    for name in ("one.wav", "copy of one.wav"):
        soundfile.write(tmp_path / "calls" / name, np.stack(sides, axis=1), 8000)
    soundfile.write(tmp_path / "calls" / "mono.wav", sides[0], 8000)

    def make(*rows: str, header: str = HEADER) -> Path:
        path = tmp_path / "labels.csv"
        path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
        return path

    return make


@pytest.mark.parametrize(
    ("row", "channel"),
    [
        ("calls/one.wav,customer,,1.5,4,angry,c1,ann", 0),
        ("calls/one.wav,agent,,1.5,4,angry,c1,ann", 1),
        ("calls/one.wav,mixed,,1.5,4,angry,c1,", None),
        ("calls/one.wav,,1,1.5,4,angry,c1,ann", 1),
        ("calls/one.wav,customer,1,1.5,4,angry,c1,ann", 1),
    ],
)
def test_a_row_is_a_piece_of_a_channel(make_table: MakeTable, row: str, channel: int | None) -> None:
    table = make_table(row)
    contents = read_corpus("calls", table)
    path = table.parent / "calls" / "one.wav"
    assert contents.clips == (Clip(path, "calls", "c1", "angry", channel=channel, start_s=1.5, end_s=4.0),)
    assert not contents.unknown


def test_the_piece_that_was_labelled_is_read(make_table: MakeTable) -> None:
    (clip,) = read_corpus("calls", make_table("calls/one.wav,agent,,1.5,4,angry,c1,ann")).clips
    expected = 0.1 * np.sin(2 * np.pi * 700 * np.arange(12_000, 32_000) / 8000)
    np.testing.assert_allclose(clip_samples(clip, 8000), expected, atol=1e-4)


@pytest.mark.parametrize("form", ["absolute", "file address"])
def test_a_recording_may_lie_elsewhere(make_table: MakeTable, tmp_path: Path, form: str) -> None:
    path = tmp_path / "calls" / "copy of one.wav"
    name = str(path) if form == "absolute" else path.as_uri()
    assert read_corpus("calls", make_table(f"{name},agent,,1,2,sad,c1,")).clips[0].path == path


def test_several_annotators_become_soft_labels(make_table: MakeTable) -> None:
    piece = "calls/one.wav,customer,,1,3"
    contents = read_corpus(
        "calls",
        make_table(
            f"{piece},angry,c1,ann", f"{piece},neutral,c1,bob", f"{piece},angry,c1,cem", f"{piece},angry,c1,ann"
        ),
    )
    (clip,) = contents.clips
    assert (clip.emotion, clip.annotations, clip.agreed) == ("angry", ("angry", "neutral", "angry"), True)
    np.testing.assert_allclose(clip.targets(("neutral", "sad", "angry")), [1 / 3, 0, 2 / 3])
    assert contents.duplicates == ("row 4",), "ann says the same again"


def test_two_recordings_of_the_same_bytes_are_one(make_table: MakeTable) -> None:
    contents = read_corpus(
        "calls",
        make_table("calls/one.wav,customer,,1,3,sad,c1,ann", "calls/copy of one.wav,customer,,1,3,sad,c1,ann"),
    )
    assert (len(contents.clips), contents.duplicates) == (1, ("row 2",))


def test_pieces_come_in_the_order_of_the_call(make_table: MakeTable) -> None:
    rows = [f"calls/one.wav,{role},,{start},{start + 1},sad,c1," for start, role in [(5, "agent"), (1, "agent")]]
    assert [clip.start_s for clip in read_corpus("calls", make_table(*rows)).clips] == [1, 5]


GOOD = "calls/one.wav,customer,,1,3,sad,c1,ann"


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("calls/one.wav,customer,,5,6,cross,c1,ann", "emotion is 'cross'; expected one of neutral, calm"),
        ("calls/one.wav,customer,,5,6,,c1,ann", "emotion is empty"),
        ("calls/one.wav,customer,,5,6,sad,,ann", "speaker is empty"),
        ("calls/one.wav,caller,,5,6,sad,c1,ann", "role is 'caller' and channel empty"),
        ("calls/one.wav,customer,left,5,6,sad,c1,ann", "channel is 'left'"),
        ("calls/one.wav,customer,2,5,6,sad,c1,ann", "channel is 2 of a recording of 2"),
        ("calls/mono.wav,agent,,5,6,sad,c1,ann", "channel is 1 of a recording of 1"),
        ("calls/one.wav,customer,,six,7,sad,c1,ann", "start_s is 'six'"),
        ("calls/one.wav,customer,,nan,7,sad,c1,ann", "start_s is"),
        ("calls/one.wav,customer,,7,6,sad,c1,ann", "from 7.0 to 6.0 s of 10.00 s"),
        ("calls/one.wav,customer,,7,12,sad,c1,ann", "from 7.0 to 12.0 s of 10.00 s"),
        ("calls/one.wav,customer,,5,5.1,sad,c1,ann", "from 5.0 to 5.1 s of 10.00 s; expected a piece of it, 0.2 s"),
        ("calls/two.wav,customer,,5,6,sad,c1,ann", "no audio at"),
        ("labels.csv,customer,,5,6,sad,c1,ann", "no audio at"),
        ("s3://bucket/one.wav,customer,,5,6,sad,c1,ann", "source_uri is on s3://; expected a local path"),
        ("calls/one.wav,customer,,1,3,angry,c1,ann", "annotator 'ann' says angry, in an earlier row of the same"),
        ("calls/one.wav,customer,,1,3,angry,c2,bob", "speaker is 'c2', in an earlier row of the same piece 'c1'"),
        ("calls/one.wav,customer", "emotion is empty"),
    ],
)
def test_a_row_that_does_not_fit_is_reported(make_table: MakeTable, row: str, reason: str) -> None:
    contents = read_corpus("calls", make_table(GOOD, row))
    assert [clip.annotations for clip in contents.clips] == [()]
    (told,) = contents.unknown
    assert told.startswith(f"row 2: {reason}")


def test_parquet_and_csv_are_the_same(make_table: MakeTable, tmp_path: Path) -> None:
    table = make_table(GOOD, "calls/one.wav,agent,,4,5.5,happy,a1,")
    columns = {
        "source_uri": ["calls/one.wav"] * 2,
        "channel": [0.0, 1.0],
        "role": [None, None],
        "start_s": [1, 4.0],
        "end_s": [3, 5.5],
        "emotion": ["sad", "happy"],
        "speaker": ["c1", "a1"],
        "annotator": [float("nan"), float("nan")],
    }
    pq.write_table(pa.table(columns), tmp_path / "labels.parquet")
    assert read_corpus("calls", tmp_path / "labels.parquet").clips == read_corpus("calls", table).clips


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (HEADER.replace("emotion", "label"), "expected source_uri, start_s, end_s, emotion, speaker"),
        (HEADER.replace(",", ";"), "has the columns"),
        (HEADER.replace("role", "side").replace("channel", "track"), "one of channel and role"),
    ],
)
def test_a_table_without_the_columns_is_refused(make_table: MakeTable, header: str, message: str) -> None:
    with pytest.raises(CorpusError, match=message):
        read_corpus("calls", make_table(GOOD, header=header))


def test_what_is_no_table_is_refused(make_table: MakeTable, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="is not a file"):
        read_corpus("calls", tmp_path)
    with pytest.raises(CorpusError, match=r"no row that can be used \(1 are not understood, the first: row 1: emotion"):
        read_corpus("calls", make_table("calls/one.wav,customer,,1,3,cross,c1,ann"))
    (tmp_path / "labels.parquet").write_bytes(b"PAR0")
    with pytest.raises(CorpusError, match="is not Parquet"):
        read_corpus("calls", tmp_path / "labels.parquet")
    (tmp_path / "labels.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CorpusError, match="is not CSV in UTF-8"):
        read_corpus("calls", tmp_path / "labels.csv")


def test_the_command_says_what_a_table_holds(make_table: MakeTable, capsys: pytest.CaptureFixture[str]) -> None:
    table = make_table(GOOD, "calls/one.wav,customer,,5,6,cross,c1,ann")
    assert main(["corpora", "--corpus", f"calls={table}"]) == 0
    out = capsys.readouterr().out
    assert "calls: 1 clips of 1 speakers; 0 duplicates dropped, 1 not understood" in out
    assert "not understood: row 2: emotion is 'cross'" in out
    many = make_table(GOOD, *["calls/one.wav,customer,,5,6,cross,c1,ann"] * 25)
    assert main(["corpora", "--corpus", f"calls={many}"]) == 0
    out = capsys.readouterr().out
    assert out.count("not understood: row") == 20
    assert "and 5 more" in out
