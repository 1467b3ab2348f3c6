"""What saved cross-validation runs say of clips that they never heard: the material of the report on a model.

Every run's network is that of its last epoch. Its temperature and conformal threshold are fitted on what the runs of
the other folds made of their test speakers, as a shipped model's are on all of them: never on its own. Logits are kept
below the runs' folder by the content of all that they follow from, so that a second report computes none. Needs torch.
"""

import csv
import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ser_model.classifier import softmax
from ser_model.conditions import Condition
from ser_model.corpora import Clip, CorpusContents, file_digest
from ser_model.crossvalidation import RANDOM_FOLD, fold_config, fold_split
from ser_model.errors import TrainingRunError
from ser_model.evaluate import LONGEST_SEGMENT_S, calibrate, clip_segments, mean_by_clip
from ser_model.features import FeatureSpec, ModelInput, Samples
from ser_model.fine_tuning import Ancestor
from ser_model.predictions import Predictions
from ser_model.train import CHECKPOINT_FILE, CURVES_FILE, Split, TrainingConfig, load_run, run_ancestor, segment_logits

CACHE_FOLDER: Final = "report-cache"
CALIBRATED_ON: Final = ("clean", "g711")
"""The conditions that a temperature is fitted under."""

_RUN_NAME: Final = re.compile(r"(?P<fold>[A-Za-z0-9]+)-(?P<seed>\d+)")
# The code that logits follow from, besides the checkpoint.
_SOURCES: Final = (
    "augment",
    "conditions",
    "corpora",
    "evaluate",
    "features",
    "network",
    "quantization",
    "saved_runs",
    "train",
)


@dataclass(frozen=True)
class Run:
    """A finished run of `ser_model.crossvalidation`.

    Attributes
    ----------
    name, fold, seed, folder
        ``FOLD-SEED``, its parts, and where it is.
    config
        What was trained.
    network
        Of the last epoch.
    ancestor
        What its network started from; None: nothing.
    commit
        Of the code that trained it.
    training_s
        What training took; None where the run did not write it down.
    precision
        float32, or int8 where the network was brought to integers since.
    """

    name: str
    fold: str
    seed: int
    folder: Path
    config: TrainingConfig
    network: Any
    ancestor: Ancestor | None
    commit: str
    training_s: float | None
    precision: str = "float32"


def read_runs(folder: Path) -> tuple[list[Run], list[str]]:
    """Return the finished runs of a folder, by seed and fold, and the names of those that are not finished.

    Raises
    ------
    TrainingRunError
        If a run left out other speakers than its fold, or the runs are of different configurations or started from
        different models.
    """
    runs, unfinished = [], []
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        name = _RUN_NAME.fullmatch(path.name)
        if name is None or not (path / CHECKPOINT_FILE).is_file():
            continue
        config, network, state = load_run(path)
        if state["epochs_done"] < config.epochs:
            unfinished.append(path.name)
            continue
        run = Run(
            name=path.name,
            fold=name["fold"],
            seed=int(name["seed"]),
            folder=path,
            config=config,
            network=network,
            ancestor=run_ancestor(state),
            commit=state["commit"],
            training_s=_seconds(path),
        )
        if fold_config(config, run.fold, run.seed) != config:
            raise TrainingRunError(
                f"{path} was not trained on fold {run.fold} with seed {run.seed}; expected a run of "
                "python -m ser_model crossvalidate with today's configs/folds.yaml: move it elsewhere"
            )
        runs.append(run)
    recipes = {json.dumps(_recipe(run)) for run in runs}
    if len(recipes) > 1:
        raise TrainingRunError(
            f"the runs of {folder} are of {len(recipes)} configurations or --init; expected one, its folds and seeds "
            "apart: keep the runs of each configuration in a folder of their own"
        )
    return sorted(runs, key=lambda run: (run.seed, run.fold)), unfinished


def _seconds_of(n_frames: int, spec: FeatureSpec) -> float:
    """Return how much sound so many frames are of."""
    return ((n_frames - 1) * spec.hop_length + spec.window_length) / spec.sample_rate_hz


def _recipe(run: Run) -> dict[str, Any]:
    """Return what a run's folds and seeds have in common."""
    drawn = {name: split.clips_an_epoch for name, split in run.config.corpora.items()}
    started_from = run.ancestor.to_dict() if run.ancestor else None
    return fold_config(run.config, RANDOM_FOLD, 0).to_dict() | {"corpora": drawn, "started_from": started_from}


def _seconds(run_folder: Path) -> float | None:
    """Return the seconds of a run's epochs; None where an epoch has none."""
    with (run_folder / CURVES_FILE).open(newline="", encoding="utf-8") as file:
        seconds = [row.get("seconds") for row in csv.DictReader(file)]
    return sum(map(float, filter(None, seconds))) if seconds and all(seconds) else None


class Listener:
    """Lets runs hear clips.

    Parameters
    ----------
    runs_folder
        Its ``report-cache`` keeps what was computed.
    runs
        All that were finished: they are calibrated by each other.
    splits
        Their clips by use, `run_splits`.
    conditions
        By name; see `ser_model.conditions.conditions`.
    noises
        What the conditions' noise was made of: part of what a result is kept by.
    report
        Called with lines of progress.
    """

    def __init__(
        self,
        runs_folder: Path,
        runs: Sequence[Run],
        splits: Mapping[str, Split],
        conditions: Mapping[str, Condition],
        noises: Sequence[Samples],
        report: Callable[[str], None],
    ) -> None:
        self._cache = Cache(runs_folder / CACHE_FOLDER)
        self._runs = runs
        self._splits = splits
        self._conditions = conditions
        self._noises = hashlib.sha256(b"".join(noise.tobytes() for noise in noises)).hexdigest()
        self._report = report
        self._segments: dict[tuple[Clip, str, float], list[ModelInput]] = {}
        self._calibrations: dict[str, tuple[float, float]] = {}

    def hear(
        self, run: Run, clips: Sequence[Clip], condition: str, longest_s: float = LONGEST_SEGMENT_S
    ) -> Predictions:
        """Return what a run makes of clips of emotions that it has.

        Parameters
        ----------
        run
            Finished.
        clips
            Of any corpus.
        condition
            What they are sent through.
        longest_s
            They are cut into segments of at most this length.
        """
        temperature, threshold = self.calibration(run)
        by_segment, row_of_segment, segment_s = self._logits(run, clips, condition, longest_s)
        return Predictions(
            clips=tuple(clips),
            seeds=np.full(len(clips), run.seed),
            runs=(run.name,) * len(clips),
            by_segment=softmax(by_segment, temperature),
            row_of_segment=row_of_segment,
            segment_s=segment_s,
            uncalibrated=mean_by_clip(softmax(by_segment), row_of_segment),
            thresholds=np.full((len(clips), 1), threshold),
            labels=run.config.labels,
        )

    def calibration(self, run: Run) -> tuple[float, float]:
        """Return a run's temperature and conformal threshold, by the other folds' runs of its seed.

        Those of a random split, whose test speakers others trained on, are 1 and 0.

        Raises
        ------
        TrainingRunError
            If no other fold was finished with its seed.
        """
        if run.fold == RANDOM_FOLD:
            return 1.0, 0.0
        if run.name not in self._calibrations:
            others = [
                other for other in self._runs if other.seed == run.seed and other.fold not in (run.fold, RANDOM_FOLD)
            ]
            if not others:
                raise TrainingRunError(
                    f"{run.name} is the only finished run of a fold with seed {run.seed}; expected two or more, which "
                    "are calibrated by each other: python -m ser_model crossvalidate"
                )
            self._calibrations[run.name] = self.calibration_by(others)
        return self._calibrations[run.name]

    def calibration_by(self, runs: Sequence[Run]) -> tuple[float, float]:
        """Return the temperature and conformal threshold that fit what runs make of their own test speakers.

        Both are rounded as ``model.yaml`` has them. The speakers are those of the corpus that the recipe is measured
        on, heard under each condition of `CALIBRATED_ON`.
        """
        logits, truths = [], []
        for run in runs:
            clips = [clip for clip in self._splits[run.name].test if clip.corpus == run.config.measured_on]
            for condition in CALIBRATED_ON:
                rows, clip_of_row, _ = self._logits(run, clips, condition)
                logits.append(mean_by_clip(rows, clip_of_row))
                truths.append([run.config.labels.index(clip.emotion) for clip in clips])
        return calibrate(np.concatenate(logits), np.concatenate(truths))

    def _logits(
        self, run: Run, clips: Sequence[Clip], condition: str, longest_s: float = LONGEST_SEGMENT_S
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.intp], npt.NDArray[np.float64]]:
        """Return the logits of clips' segments, whose they are and how long they are."""
        key = [
            file_digest(run.folder / CHECKPOINT_FILE).hex(),
            run.config.to_dict(),
            run.precision,
            condition,
            self._noises if condition.startswith("noise") else "",
            longest_s,
            clips_digest(clips),
        ]

        def compute() -> dict[str, npt.NDArray[Any]]:
            self._report(f"{run.name}: {len(clips)} clips of {clips[0].corpus}, {condition}, up to {longest_s:g} s")
            spec = run.config.features
            by_clip = self._heard_as(run, clips, condition, longest_s)
            segments = [segment for pieces in by_clip for segment in pieces]
            return {
                "logits": segment_logits(run.network, segments, spec),
                "clip": np.array([index for index, pieces in enumerate(by_clip) for _ in pieces], dtype=np.intp),
                "seconds": np.array([_seconds_of(len(segment), spec) for segment in segments]),
            }

        kept = self._cache.get("logits", key, _SOURCES, compute)
        return kept["logits"], kept["clip"], kept["seconds"]

    def _heard_as(self, run: Run, clips: Sequence[Clip], condition: str, longest_s: float) -> list[list[ModelInput]]:
        new = [clip for clip in clips if (clip, condition, longest_s) not in self._segments]
        computed = clip_segments(new, run.config.features, condition, self._conditions, longest_s)
        for clip, segments in zip(new, computed, strict=True):
            self._segments[clip, condition, longest_s] = segments
        return [self._segments[clip, condition, longest_s] for clip in clips]


class Cache:
    """Arrays kept in a folder by the content of what they follow from."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(
        self, kind: str, key: Sequence[Any], sources: Sequence[str], compute: Callable[[], dict[str, npt.NDArray[Any]]]
    ) -> dict[str, npt.NDArray[Any]]:
        """Return the arrays of a key, computed where they are not kept yet.

        Parameters
        ----------
        kind
            What they are: part of the file's name.
        key
            Everything that they follow from but code, as plain values.
        sources
            Modules of ser_model whose code they follow from.
        compute
            Makes them.
        """
        here = Path(__file__).parent
        code = [file_digest(here / f"{name}.py").hex() for name in sources]
        digest = hashlib.sha256(json.dumps([*key, code], sort_keys=True).encode()).hexdigest()
        path = self._folder / f"{kind}-{digest[:32]}.npz"
        if not path.exists():
            self._folder.mkdir(parents=True, exist_ok=True)
            part = path.with_suffix(".part")
            arrays: dict[str, Any] = compute()
            with part.open("wb") as file:
                np.savez(file, **arrays)
            part.replace(path)
        with np.load(path, allow_pickle=False) as kept:
            return dict(kept)


_DIGESTS: Final[dict[Path, str]] = {}


def clips_digest(clips: Sequence[Clip]) -> str:
    """Return a hash of clips' sounds in their order and of their names, which decide what is random in a condition."""
    for clip in clips:
        if clip.path not in _DIGESTS:
            _DIGESTS[clip.path] = file_digest(clip.path).hex()
    rows = [(_DIGESTS[clip.path], clip.path.name, clip.channel, clip.start_s, clip.end_s) for clip in clips]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def run_splits(runs: Sequence[Run], corpora: Mapping[str, CorpusContents]) -> dict[str, Split]:
    """Return the clips of each run by use, by the run's name, of the corpora that it was trained on.

    Raises
    ------
    TrainingConfigError
        If one of them is not given.
    """
    return {
        run.name: fold_split(
            run.config, run.fold, {name: corpora[name] for name in run.config.corpora if name in corpora}
        )
        for run in runs
    }
