"""classify_emotions: the emotion of each segment, by the CNN in ONNX Runtime.

A Spark task reads a file of staged segments, classifies those that have features in batches across recordings, and
writes the day's ``emotion_log``, ready to be published. A day of one file is classified by this process.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from jobs.command import run_command
from jobs.errors import StepOrderError
from jobs.extract_features import FEATURE_HASH
from jobs.model import load_classifier
from jobs.staging import RunStaging, StagedFile
from jobs.step import StepContext, step_main
from schemas import TABLES
from schemas.staging import SEGMENTS
from ser_model.classifier import Classifier, emotion_set
from ser_model.errors import SegmentError
from ser_model.features import ModelInput
from ser_model.taxonomy import valence_arousal

log = logging.getLogger("callmood.classify")

EMOTION_LOG = TABLES["emotion_log"]
NOTHING_YET: Mapping[str, float] = dict.fromkeys(("segments", "classified", "calls_failed", "inference_s"), 0)
_INPUT = [name for name in SEGMENTS.schema.names if name != "source_uri"]


@dataclass(frozen=True)
class ClassifyTask:
    """A file of segments, and all that is needed to classify it."""

    number: int
    file: StagedFile
    staging: RunStaging
    model: str
    batch_size: int


@dataclass(frozen=True)
class ClassifyResult:
    """What a task wrote."""

    emotion_log: StagedFile
    counts: Mapping[str, float]


def run(context: StepContext) -> Mapping[str, float]:
    """Classify the day's segments; returns the counts of segments, classified ones, and calls dropped for the model."""
    from jobs.spark import run_tasks, spark_session, totals

    settings, staging = context.settings, context.staging
    model = staging.run_spec().model
    files = staging.manifest(SEGMENTS).files
    spark = spark_session("callmood classify_emotions", settings) if len(files) > 1 else None
    tasks = [ClassifyTask(number, file, staging, model, settings.batch_size) for number, file in enumerate(files)]
    results: list[ClassifyResult] = run_tasks(spark, classify, tasks, "classify_emotions")
    if spark is not None:
        spark.stop()
    staging.commit(EMOTION_LOG, [result.emotion_log for result in results])
    return totals([NOTHING_YET, *(result.counts for result in results)])


def classify(task: ClassifyTask) -> ClassifyResult:
    """Classify a file of segments; runs in a Spark worker.

    Raises
    ------
    StepOrderError
        Where its features are not what the model hears.
    """
    classifier = load_classifier(task.model)
    batches = task.staging.read_file(SEGMENTS, task.file, _INPUT)
    first = next(batches)  # no file of a staged table is empty
    expected, found = classifier.card.feature_spec.hash, first.schema.metadata.get(FEATURE_HASH.encode(), b"none")
    if found.decode() != expected:
        raise StepOrderError(
            f"staged features are of specification {found.decode()}, the model needs {expected}; run extract_features "
            "again"
        )
    counts = dict(NOTHING_YET)
    name = f"{task.number:05d}"
    with task.staging.writer(EMOTION_LOG, name) as writer:
        read = 0
        for segments in whole_calls(chain([first], batches)):
            read += segments.num_rows
            started = time.monotonic()
            segments, probabilities, failed = _probabilities(segments, classifier, task.batch_size)
            counts["inference_s"] += time.monotonic() - started
            counts["segments"] += segments.num_rows
            counts["classified"] += len(probabilities)
            counts["calls_failed"] += failed
            writer.write(emotion_rows(segments, probabilities, classifier, task.staging.run_id))
            task.staging.report_progress("classify_emotions", name, read, task.file.rows)
    return ClassifyResult(writer.file, counts)


def whole_calls(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Move the borders of batches to those of calls, whose rows follow one another: a call is judged as a whole."""
    rest: list[pa.RecordBatch] = []
    for batch in batches:
        contact_ids = batch.column("contact_id")
        start = pc.index(contact_ids, contact_ids[-1]).as_py()
        if start == 0 and (not rest or rest[-1].column("contact_id")[-1] == contact_ids[0]):
            rest.append(batch)
            continue
        yield pa.Table.from_batches([*rest, batch.slice(0, start)])
        rest = [batch.slice(start)]
    if rest:
        yield pa.Table.from_batches(rest)


def _probabilities(
    segments: pa.Table, classifier: Classifier, batch_size: int
) -> tuple[pa.Table, npt.NDArray[np.float32], int]:
    """Classify the segments that have features.

    Returns
    -------
    The segments, without those of calls that the model fails on; the probabilities of their classified ones, float32
    ``[shape=(classified, classes)]``; how many calls were left out. Such a call has no row in ``emotion_log``,
    by which summarize_calls knows it and quarantines it as model_error.
    """
    try:
        return segments, classifier.probabilities(_features(segments, classifier), batch_size), 0
    except SegmentError:
        log.exception("a batch could not be classified; its calls are tried one by one")
    kept, found, failed = [], [], 0
    contact_ids = segments.column("contact_id").to_pylist()
    for contact_id in dict.fromkeys(contact_ids):
        one = segments.filter(pa.array([other == contact_id for other in contact_ids]))
        try:
            found.append(classifier.probabilities(_features(one, classifier), batch_size))
            kept.append(one)
        except SegmentError:
            failed += 1
    n_classes = len(classifier.card.labels)
    none = np.empty((0, n_classes), dtype=np.float32)
    return pa.concat_tables([segments.slice(0, 0), *kept]), np.concatenate([none, *found]), failed


def _features(segments: pa.Table, classifier: Classifier) -> list[ModelInput]:
    spec = classifier.card.feature_spec
    return [
        np.frombuffer(content, dtype=spec.dtype).reshape(-1, *spec.item_shape)
        for content in segments.column("features").to_pylist()
        if content is not None
    ]


def emotion_rows(
    segments: pa.Table, probabilities: npt.NDArray[np.float32], classifier: Classifier, run_id: str
) -> pa.Table:
    """Make rows of ``emotion_log`` from segments and the probabilities of the classified ones.

    Parameters
    ----------
    segments
        Staged segments.
    probabilities
        Of those with ``classified``, in their order, float32 ``[shape=(classified, classes)]``.
    """
    card = classifier.card
    classified = segments.column("classified").to_numpy()
    # place[i] is the row of segment i in the results; segments that were not classified take none.
    place = pa.array(np.cumsum(classified) - 1, mask=~classified)
    best = probabilities.argmax(axis=1) if len(probabilities) else np.empty(0, dtype=np.int64)
    values = {
        "emotion": pa.array([card.labels[index] for index in best], pa.string()),
        "confidence": pa.array(probabilities.max(axis=1) if len(probabilities) else [], pa.float32()),
        "emotion_set": pa.array(
            [emotion_set(row, card.labels, card.conformal_threshold) for row in probabilities], pa.list_(pa.string())
        ),
        "model_id": pa.array([card.model_id] * len(probabilities), pa.string()),
    }
    for index, label in enumerate(card.labels):
        values[f"p_{label}"] = pa.array(probabilities[:, index])
    coordinates = valence_arousal(probabilities, card.labels)
    values |= {"valence": pa.array(coordinates[:, 0]), "arousal": pa.array(coordinates[:, 1])}
    rows = segments.drop_columns(["features", "n_frames"])
    for name, column in values.items():
        rows = rows.append_column(name, column.take(place))
    return rows.append_column("run_id", pa.array([run_id] * rows.num_rows, pa.string()))


if __name__ == "__main__":
    # By its module's name, so that Spark's workers import what they run instead of being sent its code.
    from jobs import classify_emotions

    run_command(lambda: step_main("classify_emotions", classify_emotions.run, __doc__))
