"""What a model is, for people: everything that its folder says, and what it does not know.

Reads ``model.yaml`` and the network's file; measures nothing (`ser_model.evaluate`) and checks no more than loading
does (`ser_model.verify`).
"""

import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from ser_model.classifier import NETWORK_FILE, Classifier, ModelCard, read_network_file
from ser_model.corpora import CORPORA
from ser_model.features import FeatureSpec
from ser_model.onnx_file import OnnxFile
from ser_model.taxonomy import EMOTIONS

_WIDTH: Final = 118
_INDENT: Final = " " * 13


def describe(folder: Path) -> Iterator[str]:
    """Yield what a model is, in lines.

    Raises
    ------
    ser_model.errors.SerModelError
        If the folder is no model.
    """
    card = Classifier.load(folder).card
    content = read_network_file(folder / NETWORK_FILE)
    network = OnnxFile.read(content)
    spec = card.feature_spec
    heard = (
        f"log-mel, {spec.n_mels} bands from {spec.f_min_hz:g} to {spec.f_max_hz:g} Hz, a frame each "
        f"{1000 * spec.frame_s:g} ms"
        if isinstance(spec, FeatureSpec)
        else "samples"
    )
    yield f"{card.name} {card.version} ({card.model_id})"
    yield from _entry("labels", ", ".join(card.labels))
    yield from _entry("hears", f"{heard}, at {spec.sample_rate_hz} Hz; specification {spec.hash}")
    yield from _entry(
        "size", f"{network.parameters:,} parameters, {len(content) / 1e6:.2f} MB, opset {network.opsets.get('ai.onnx')}"
    )
    yield from _entry("licence", f"{card.license}; commercial use: {'yes' if card.commercial_use else 'no'}")
    for number, name in enumerate(card.corpora):
        known = f"{CORPORA[name].title}; {CORPORA[name].license}" if name in CORPORA else "no corpus of this project"
        yield from _entry("" if number else "trained on", f"{name}: {known}")
    yield from _entry("code", card.training_commit)
    yield from _entry(
        "calibrated",
        f"temperature {card.temperature:g}; emotions of at least {card.conformal_threshold:.3g} form the 90% set",
    )
    yield from _figures(card)
    for number, limit in enumerate(_limits(card, folder)):
        yield from _entry("" if number else "limits", limit)


def _figures(card: ModelCard) -> Iterator[str]:
    results = card.metrics.get("results")
    shown = [line for result in results if (line := _figure(result))] if isinstance(results, list) else []
    for number, line in enumerate(shown or ["none that this program understands: see metrics in model.yaml"]):
        yield from _entry("" if number else "figures", line)
    if isinstance(protocol := card.metrics.get("protocol"), str):
        yield from _entry("", protocol)


def _figure(result: Any) -> str | None:
    """A result as `export` writes it, in a line; None of another kind."""
    try:
        low, high = result["uar_interval"]
        return (
            f"{result['corpus']}, {result['condition']}: UAR {result['uar']:.3f} ({low:.3f} to {high:.3f}), accuracy "
            f"{result['accuracy']:.3f}, mood UAR {result['mood_uar']:.3f}, ECE {result['ece']:.3f}; {result['n']} "
            f"clips of {len(result['speakers'])} speakers"
        )
    except (KeyError, TypeError, ValueError):
        return None


def _limits(card: ModelCard, folder: Path) -> Iterator[str]:
    if missing := [emotion for emotion in EMOTIONS if emotion not in card.labels]:
        yield f"it calls {', '.join(missing)} by the name of another emotion: it knows none of them"
    languages = ", ".join(card.evaluated_languages)
    yield f"measured in {languages}; in no other language" if languages else "measured in no language that it names"
    if not card.heard_speakers:
        yield "it does not name the speakers that it heard: whether its figures are of others is unknown"
    if not card.commercial_use:
        yield "not for commercial use"
    if (folder / "README.md").is_file():
        yield f"what it must not be used for, and its known failures: {folder / 'README.md'}"


def _entry(name: str, text: str) -> Iterator[str]:
    yield from textwrap.wrap(text, _WIDTH, initial_indent=f"  {name:<11}", subsequent_indent=_INDENT)
