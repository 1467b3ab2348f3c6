"""The run's model: opened from its folder, with its licence respected, and kept for the process's life."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from jobs.errors import SettingsError
from jobs.settings import ROOT
from ser_model.classifier import Classifier, ModelCard
from ser_model.errors import SerModelError


def portable(folder: str) -> str:
    """The folder of a model as it is called on any machine: relative to the project, where it is below it.

    Spark's driver and workers may have the project elsewhere than the machine that planned the run.
    """
    path = Path(folder)
    return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else folder


def model_folder(folder: str) -> Path:
    """Where a folder of `portable` is on this machine."""
    return ROOT / folder


def read_card(folder: str, *, accept_non_commercial: bool) -> ModelCard:
    """Read what a model is, after checking that all of it loads and that it may be used.

    Raises
    ------
    SettingsError
        Where it is no usable model, or its licence forbids commercial use and the settings do not accept that.
    """
    card = load_classifier(folder).card
    if not card.commercial_use and not accept_non_commercial:
        raise SettingsError(
            f"model {card.model_id} may not be used commercially ({card.license}); train your own (docs/model.md), or "
            "set CALLMOOD_ACCEPT_NON_COMMERCIAL=true where your use is none"
        )
    return card


@cache
def load_classifier(folder: str) -> Classifier:
    """The classifier of a folder: one a process, made when first needed.

    Raises
    ------
    SettingsError
        Where it is no usable model.
    """
    try:
        return Classifier.load(model_folder(folder))
    except SerModelError as error:
        raise SettingsError(f"CALLMOOD_MODEL: {error}") from None
