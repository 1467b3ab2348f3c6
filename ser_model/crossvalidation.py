"""Cross-validation: one configuration trained on several folds with several seeds.

Who is left out of which fold is fixed in ``configs/folds.yaml``. Every run has a folder of its own and goes on where
it was interrupted; the figures of a finished one are kept beside its checkpoint. Needs torch.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import yaml

from ser_model.conditions import CONDITIONS
from ser_model.corpora import CorpusContents
from ser_model.errors import TrainingConfigError
from ser_model.evaluate import clip_segments, unweighted_average_recall
from ser_model.features import Samples
from ser_model.folds import random_folds
from ser_model.teacher import Encode
from ser_model.train import Split, TrainingConfig, clip_logits, split_clips, train

FOLDS_FILE: Final = Path(__file__).parent / "configs" / "folds.yaml"
FIGURES_FILE: Final = "figures.json"
RANDOM_FOLD: Final = "random"
"""A fifth of a corpus's clips drawn without regard to speakers: what others publish, never to be believed."""

_RANDOM_FOLDS: Final = 5


def fold_config(config: TrainingConfig, fold: str, seed: int) -> TrainingConfig:
    """Return a configuration with a seed and the speakers that a fold leaves out.

    Raises
    ------
    TrainingConfigError
        If there is no such fold, or it leaves out no speaker of the corpus that the configuration is measured by.
    """
    folds = yaml.safe_load(FOLDS_FILE.read_text(encoding="utf-8"))
    # Its clips are drawn from those of all speakers (`fold_split`).
    folds[RANDOM_FOLD] = {config.measured_on: {"development": [], "test": []}}
    if fold not in folds:
        raise TrainingConfigError(f"fold {fold!r}; expected one of {sorted(folds)}, those of {FOLDS_FILE.name}")
    if config.measured_on not in folds[fold]:
        raise TrainingConfigError(
            f"fold {fold} leaves out speakers of {sorted(folds[fold])}; expected some of {config.measured_on}, which "
            "the configuration is measured on"
        )
    left_out = {
        name: replace(config.corpora[name], development=tuple(speakers["development"]), test=tuple(speakers["test"]))
        for name, speakers in folds[fold].items()
        if name in config.corpora
    }
    return replace(config, seed=seed, corpora={**config.corpora, **left_out})


def fold_groups() -> dict[str, tuple[str, ...]]:
    """Return the RAVDESS test speakers of each fold that has some: each speaker is in one of them."""
    folds = yaml.safe_load(FOLDS_FILE.read_text(encoding="utf-8"))
    groups = {fold: tuple(speakers["ravdess"]["test"]) for fold, speakers in folds.items()}
    return {fold: speakers for fold, speakers in groups.items() if speakers}


def fold_split(config: TrainingConfig, fold: str, corpora: Mapping[str, CorpusContents]) -> Split:
    """Return the clips of a fold by use, its configuration being `fold_config`'s.

    Raises
    ------
    TrainingConfigError
        As `ser_model.train.split_clips` does.
    """
    split = split_clips(config, corpora)
    if fold != RANDOM_FOLD:
        return split
    drawn_from = [clip for clip in split.train if clip.corpus == config.measured_on]
    tested = random_folds(drawn_from, _RANDOM_FOLDS, config.seed)[0]
    test = tuple(clip for clip, chosen in zip(drawn_from, tested, strict=True) if chosen)
    left_out = set(test)
    return replace(split, train=tuple(clip for clip in split.train if clip not in left_out), test=test)


def crossvalidate(
    config: TrainingConfig,
    folds: Sequence[str],
    seeds: Sequence[int],
    corpora: Mapping[str, CorpusContents],
    noises: Sequence[Samples],
    runs_folder: Path,
    report: Callable[[str], None],
    encode: Encode | None = None,
    init: Path | None = None,
) -> dict[str, dict[str, float]]:
    """Train every fold with every seed, seed after seed.

    Parameters
    ----------
    config
        What to train; a fold replaces the speakers that it leaves out.
    folds, seeds
        Names of ``folds.yaml``, or `RANDOM_FOLD`; and the seeds of each.
    corpora, noises, encode, init
        As for `ser_model.train.train`: a model that every run starts from must not have heard a speaker left out.
    runs_folder
        Gets a run folder ``FOLD-SEED`` each.
    report
        Called with lines of progress.

    Returns
    -------
    UAR on the corpus that the configuration is measured on, by run and condition: on the fold's test speakers, or on
    the development speakers of one without.
    """
    results = {}
    for seed in seeds:
        for fold in folds:
            name = f"{fold}-{seed}"
            figures_path = runs_folder / name / FIGURES_FILE
            if not figures_path.exists():
                report(f"{name}:")
                of_fold = fold_config(config, fold, seed)
                split = fold_split(of_fold, fold, corpora)
                figures = _run(of_fold, split, noises, runs_folder / name, report, encode, init)
                figures_path.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
            results[name] = json.loads(figures_path.read_text(encoding="utf-8"))
            report(f"{name}: " + ", ".join(f"{condition} {uar:.3f}" for condition, uar in results[name].items()))
    for condition in CONDITIONS:
        uars = [figures[condition] for figures in results.values()]
        report(f"{condition}: UAR {np.mean(uars):.3f}, mean of {len(uars)} runs; standard deviation {np.std(uars):.3f}")
    return results


def _run(
    config: TrainingConfig,
    split: Split,
    noises: Sequence[Samples],
    run_folder: Path,
    report: Callable[[str], None],
    encode: Encode | None,
    init: Path | None,
) -> dict[str, float]:
    network = train(config, split, noises, run_folder, report, encode, init)
    measured = [clip for clip in split.test if clip.corpus == config.measured_on] or split.development
    truth = np.array([config.labels.index(clip.emotion) for clip in measured])
    return {
        condition: unweighted_average_recall(
            truth, clip_logits(network, clip_segments(measured, config.features, condition), config.features).argmax(1)
        )
        for condition in CONDITIONS
    }
