"""Judgements as a corpus for training: ``python -m reporting.dashboard.export FOLDER``.

Writes FOLDER/labels.csv, a row a judgement that names an emotion, and FOLDER/segments/, the judged pieces of the
recordings, cut out: the corpus ``calls`` that `ser_model.corpora` reads. The speaker is the customer's key, so that
training never measures itself on a customer whom it has heard; a contact id where no key is known.
"""

# ruff: noqa: T201 - it says what it has done

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pyarrow as pa

from jobs.command import run_command
from jobs.errors import JobError
from jobs.labels import Labels
from reporting.dashboard.places import Places, Recordings, RecordingUnreachable, add_arguments
from reporting.dashboard.sound import excerpt
from reporting.dashboard.tables import Tables
from ser_model.errors import SerModelError
from ser_model.labels import MIN_PIECE_S

COLUMNS = ("source_uri", "channel", "start_s", "end_s", "emotion", "speaker", "annotator")


@dataclass(frozen=True)
class Exported:
    """What was written: pieces and judgements of them; pieces that could not be had, each reason with its number."""

    pieces: int
    judgements: int
    left_out: dict[str, int]


def export(labels: pa.Table, tables: Tables, recordings: Recordings, folder: Path) -> Exported:
    """Write judgements as a corpus.

    Parameters
    ----------
    labels
        Rows of `schemas.labels`. Of several judgements of a segment by one annotator the last counts.
    tables, recordings
        Where the segments' recordings and customers are looked up.
    folder
        Gets labels.csv and segments/.
    """
    found: dict[tuple[date, str, str, float, float], dict[str, str]] = {}
    for row in sorted(labels.to_pylist(), key=lambda row: row["labelled_at"]):
        key = (row["call_date"], row["contact_id"], row["role"], row["start_s"], row["end_s"])
        choices = found.setdefault(key, {})
        choices.pop(row["annotator"], None)
        if row["emotion"] is not None:
            choices[row["annotator"]] = row["emotion"]
    judged = {key: choices for key, choices in sorted(found.items()) if choices and key[4] - key[3] >= MIN_PIECE_S}
    (folder / "segments").mkdir(parents=True, exist_ok=True)
    left_out: dict[str, int] = {}
    pieces, judgements = 0, 0
    with (folder / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(COLUMNS)
        for (call_date, contact_id, role, start_s, end_s), choices in judged.items():
            try:
                sound = _cut(tables, recordings, call_date, contact_id, role, start_s, end_s)
            except (RecordingUnreachable, SerModelError) as error:
                left_out[str(error)] = left_out.get(str(error), 0) + 1
                continue
            # Numbers, not ids: the names say nothing of whose voice it is.
            name = f"segments/{pieces:06d}.wav"
            (folder / name).write_bytes(sound)
            pieces += 1
            judgements += len(choices)
            speaker = tables.customer(call_date, contact_id) or contact_id
            length_s = round(end_s - start_s, 3)
            for annotator, emotion in choices.items():
                rows.writerow([name, 0, 0.0, length_s, emotion, speaker, annotator])
    return Exported(pieces, judgements, left_out)


def _cut(
    tables: Tables, recordings: Recordings, call_date: date, contact_id: str, role: str, start_s: float, end_s: float
) -> bytes:
    addresses = tables.addresses(call_date, contact_id)
    if not addresses:
        raise RecordingUnreachable("Nothing is known any more of where the recording is.")
    with recordings.opened(addresses) as files:
        return excerpt(files, recordings.channel_roles(addresses[0]), start_s, end_s, only=role)


def main(argv: Sequence[str] | None = None) -> int:
    """Export; the exit status is 1 where no judgement could be used."""
    parser = argparse.ArgumentParser(
        prog="python -m reporting.dashboard.export",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, help="gets labels.csv and segments/: keep it as you keep recordings")
    add_arguments(parser)
    given = parser.parse_args(argv)
    try:
        places = Places.named(given)
        found = export(Labels(places.warehouse).read(), Tables(places.warehouse), places.recordings, given.folder)
    except (JobError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{found.judgements} judgements of {found.pieces} segments: {given.folder / 'labels.csv'}")
    for reason, number in sorted(found.left_out.items()):
        print(f"{number} segments left out: {reason}")
    return 0 if found.pieces else 1


if __name__ == "__main__":
    run_command(main)
