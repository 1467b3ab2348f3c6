"""watch_model: is the model still what it was, and are the data? ``python -m jobs.watch_model``; weekly, by the DAG.

Says how unlike the 28 days before the last 7 published days are (`reporting.drift`), and scores a golden set again: a
folder of one-channel clips (``CALLMOOD_GOLDEN_SET``), such as people have judged (``reporting.dashboard.export``). The
share of clips that another emotion is found in is said. By the same model none may be: if one is, a library, a decoder
or the machine's arithmetic has changed what the model says, and the command ends with an error. What a model said the
first time stands in ``<warehouse>/_golden/<model>.json``, by a hash of each clip's content: no name, no sound.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from jobs.command import exit_status, run_command
from jobs.discretion import start_logging
from jobs.errors import JobError, ModelChanged, SettingsError
from jobs.model import load_classifier
from jobs.settings import Settings, load_settings
from jobs.storage import Storage, open_storage
from jobs.warehouse import Snapshot, Warehouse
from reporting import words
from reporting.course import DAYS_BEFORE
from reporting.drift import Drift, drift, drift_of
from reporting.periods import Period
from schemas.alerts import Severity
from ser_model.classifier import Classifier
from ser_model.errors import SerModelError
from ser_model.recording import SegmentExtractor
from ser_model.recording_emotions import classify_recording

DAYS = 7
"""So many days, up to the last that is published, are compared with those before."""
FOLDER = "_golden"

log = logging.getLogger("callmood.watch")

Emotions = Mapping[str, str]
"""The emotion of each clip, by a hash of its content."""


@dataclass(frozen=True)
class Golden:
    """A golden set as a model heard it, and as it was heard before.

    Attributes
    ----------
    model_id, model_before
        The model, and the one that it is compared with: itself, else the one scored last; None the first time.
    clips
        Clips that were scored.
    compared, changed
        Clips that were scored before, too, and those in which another emotion was found.
    """

    model_id: str
    model_before: str | None
    clips: int
    compared: int
    changed: int

    @property
    def sentence(self) -> str:
        """Say it in plain words."""
        if self.model_before is None:
            return f"The golden set's {self.clips} clips were scored by {self.model_id} for the first time."
        than = "before" if self.model_before == self.model_id else f"by {self.model_before}"
        share = f" ({self.changed / self.compared:.1%})" if self.compared else ""
        return f"{self.model_id} finds another emotion than {than} in {self.changed} of {self.compared} clips{share}."


@dataclass(frozen=True)
class Ticket:
    """What people are told of drift."""

    title: str
    body: str
    severity: Severity = "ticket"


def watch_data(settings: Settings) -> tuple[Period, Drift]:
    """Compare the last `DAYS` days, up to the last that is published, with the 28 before them; and say which these are.

    Today, and no drift, where nothing is published.
    """
    warehouse = Warehouse(open_storage(settings.warehouse, settings))

    def compare(view: Snapshot) -> tuple[Period, Drift]:
        if not view.call_dates:
            today = Period.day(datetime.now(UTC).date())
            return today, drift({}, today, DAYS_BEFORE)
        last = view.call_dates[-1]
        period = Period("week", last - timedelta(days=DAYS - 1), last)
        return period, drift_of(view, period, DAYS_BEFORE)

    return warehouse.view(compare)


def has_moved(found: Drift) -> bool:
    """Whether the data are so unlike those before that somebody should look."""
    return any(each.verdict == "much" for each in found.shifts)


def tickets(period: Period, found: Drift) -> list[Ticket]:
    """What people are to be told of the data: nothing, unless they have moved."""
    if not has_moved(found):
        return []
    moved = words.listing([each.quantity for each in found.shifts if each.verdict == "much"])
    body = [
        *found.sentences,
        "Look: another mix of queues moves everything; else at recorders, codecs and who called (docs/runbook.md).",
        "Affected: figures of these days beside those of the weeks before; nothing that is published changes.",
        f"Type: make why FROM={period.first} TO={period.last}",
    ]
    return [Ticket(f"The data of {period.first} to {period.last} have moved: {moved}", "\n".join(body))]


def watch_golden_set(folder: Path, model: str, warehouse: Storage) -> Golden:
    """Score the golden set again.

    Raises
    ------
    SettingsError
        Where the folder has no clip that can be scored, or the model cannot be loaded.
    ModelChanged
        Where the model finds other emotions than it did itself.
    DamagedFile
        Where what was kept of the set cannot be read.
    """
    classifier = load_classifier(model)
    model_id = classifier.card.model_id
    emotions = _heard(folder, classifier)
    files = [file.path for file in warehouse.files(FOLDER) if file.path.endswith(".json")]
    kept = {path.rpartition("/")[2].removesuffix(".json"): warehouse.read_json(path, _scored) for path in files}
    last = model_id if model_id in kept else max(kept, key=lambda name: kept[name][0], default=None)
    before: Emotions = {} if last is None else kept[last][1]
    shared = emotions.keys() & before.keys()
    changed = sum(emotions[clip] != before[clip] for clip in shared)
    found = Golden(model_id, last, len(emotions), len(shared), changed)
    own = f"{FOLDER}/{model_id}.json"
    if last == model_id and changed:
        raise ModelChanged(
            f"{found.sentence} The same model has to say the same: compare the versions of onnxruntime, numpy and "
            f"libsndfile with those before; if what it says now is to count, delete {warehouse.uri(own)}"
        )
    # New clips are taken in; what was said of the others stays.
    known = {**emotions, **(before if last == model_id else {})}
    now = datetime.now(UTC).isoformat(timespec="microseconds")
    warehouse.write(own, json.dumps({"scored_at": now, "emotions": known}, indent=0).encode())
    return found


def _scored(found: Mapping[str, Any]) -> tuple[str, Emotions]:
    """When a model scored the set, and what it found."""
    return found["scored_at"], found["emotions"]


def _heard(folder: Path, classifier: Classifier) -> Emotions:
    """The emotion of each clip: the most probable over its segments, by their length."""
    extractor = SegmentExtractor(classifier.card.feature_spec, {"customer"})
    heard = {}
    failed = 0
    for path in sorted(folder.rglob("*.wav")):
        try:
            with path.open("rb") as file:
                found = classify_recording(path.name, [file], ("customer",), extractor, classifier)
        except (SerModelError, OSError):
            failed += 1
            continue
        parts = [part for part in found.segments if part.probabilities]
        if parts:
            lengths = [part.end_s - part.start_s for part in parts]
            mean = np.average([part.probabilities for part in parts], axis=0, weights=lengths)
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            heard[content] = classifier.card.labels[int(mean.argmax())]
    if failed:
        log.warning("%d clips of the golden set cannot be scored", failed)
    if not heard:
        raise SettingsError(
            f"CALLMOOD_GOLDEN_SET: found no clip that can be scored in {folder}; expected a folder of one-channel WAV "
            "files"
        )
    return heard


def main(argv: Sequence[str] | None = None) -> int:
    """Watch both, and say what was found; the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m jobs.watch_model", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--drift", action="store_true", help="print what people are to be told of the data, as JSON")
    arguments = parser.parse_args(argv)
    start_logging()
    try:
        settings = load_settings()
        period, found = watch_data(settings)
        if arguments.drift:
            sys.stdout.write(json.dumps([asdict(each) for each in tickets(period, found)]) + "\n")
            return 0
        for sentence in found.sentences:
            log.log(logging.WARNING if has_moved(found) else logging.INFO, sentence)
        if settings.golden_set is None:
            log.info("no golden set is scored: CALLMOOD_GOLDEN_SET names none")
        else:
            warehouse = open_storage(settings.warehouse, settings)
            log.info("%s", watch_golden_set(settings.golden_set, settings.model, warehouse).sentence)
    except JobError as error:
        log.error("%s", error)
        return exit_status(permanent=error.permanent)
    return 0


if __name__ == "__main__":
    run_command(main)
