"""Starting a training from a model instead of from nothing: its weights, out of ``model.onnx``, and its past.

What a model heard, the network that starts from it has heard too: its corpora, its speakers and its licence go into
the new run. Needs torch; knows nothing of epochs.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from ser_model.classifier import NETWORK_FILE, Classifier, ModelCard
from ser_model.errors import TrainingRunError
from ser_model.features import InputSpec
from ser_model.network import EmotionNetwork

_LAST_LAYER: Final = "classify"
# What an export calls the bias of a convolution that a normalisation was folded into.
_FOLDED_BIAS: Final = "{}.weight_bias"


@dataclass(frozen=True)
class Ancestor:
    """What the network that a run started from had heard.

    Attributes
    ----------
    model_id
        Of the model.
    corpora
        What it was trained on.
    heard_speakers
        Of each corpus.
    """

    model_id: str
    corpora: tuple[str, ...]
    heard_speakers: Mapping[str, tuple[str, ...]]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, which `from_dict` reads."""
        heard = {corpus: list(speakers) for corpus, speakers in self.heard_speakers.items()}
        return {**asdict(self), "corpora": list(self.corpora), "heard_speakers": heard}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Ancestor":
        """Return what `to_dict` gave."""
        heard = {corpus: tuple(speakers) for corpus, speakers in values["heard_speakers"].items()}
        return cls(values["model_id"], tuple(values["corpora"]), heard)


def read_ancestor(
    model_folder: Path,
    labels: Sequence[str],
    spec: InputSpec,
    commercial_use: bool,
    held_back: Mapping[str, set[str]],
) -> Ancestor:
    """Return what a model had heard, where a run may start from it.

    Parameters
    ----------
    model_folder
        With ``model.onnx`` and ``model.yaml``.
    labels, spec, commercial_use
        Of the run's configuration.
    held_back
        Of each corpus, the speakers that the run calibrates or measures on.

    Raises
    ------
    ModelError
        If the folder holds no model that keeps the contract.
    TrainingRunError
        If the model hears something else, knows none of the labels, heard a speaker that is held back, or may not be
        used as the run's is to be.
    """
    card = Classifier.load(model_folder).card
    refused = _refused(card, labels, spec, commercial_use, held_back)
    if refused:
        raise TrainingRunError(f"no training can start from {card.model_id}: {refused}")
    return Ancestor(card.model_id, card.corpora, card.heard_speakers)


def _refused(
    card: ModelCard,
    labels: Sequence[str],
    spec: InputSpec,
    commercial_use: bool,
    held_back: Mapping[str, set[str]],
) -> str | None:
    if card.feature_spec != spec:
        return f"it hears features {card.feature_spec.hash}; expected those of the configuration, {spec.hash}"
    if not set(card.labels) & set(labels):
        return f"it knows {', '.join(card.labels)}; expected some of the configuration's labels"
    if commercial_use and not card.commercial_use:
        return "it is not for commercial use; expected commercial_use: false in the configuration, too"
    heard = {corpus: sorted(held_back.get(corpus, set()) & set(names)) for corpus, names in card.heard_speakers.items()}
    heard = {corpus: names for corpus, names in heard.items() if names}
    if heard:
        found = "; ".join(f"{corpus}: {', '.join(names)}" for corpus, names in heard.items())
        return f"it heard speakers that are to be held back ({found}); expected others as development and test"
    return None


def load_weights(network: EmotionNetwork, model_folder: Path, labels: Sequence[str], examples: Tensor) -> None:
    """Give a network the weights of a model: it then computes what the model computes, of the labels they share.

    An export folds each normalisation into the convolution before it. It is unfolded with the mean and variance that
    the convolution's output has on the examples, so that training, which normalises by batch, begins where the model
    ended.

    Parameters
    ----------
    network
        Freshly made; labels that the model lacks keep their first weights.
    model_folder
        Of a model that `read_ancestor` took.
    labels
        The network's.
    examples
        Log-mel of segments, ``[batch, frames, n_mels]``.

    Raises
    ------
    TrainingRunError
        If the model's network is not of this code's shape.
    """
    graph = onnx.load(model_folder / NETWORK_FILE).graph
    given = {tensor.name: torch.from_numpy(numpy_helper.to_array(tensor).copy()) for tensor in graph.initializer}
    try:
        with torch.no_grad():
            _copy_plain(network, given)
            _copy_labels(network, given, ModelCard.load(model_folder).labels, labels)
            _unfold(network, given, examples)
    except (KeyError, RuntimeError, ValueError) as error:
        raise TrainingRunError(
            f"{model_folder / NETWORK_FILE} is not of this code's network ({error}); expected a model that "
            "python -m ser_model export of this version wrote"
        ) from error


def _copy_plain(network: EmotionNetwork, given: Mapping[str, Tensor]) -> None:
    """Copy what an export leaves as it is: every weight but those of normalisations and of the last layer."""
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d):
            module.weight.copy_(given[f"{name}.weight"])
            if module.bias is not None:
                module.bias.copy_(given[f"{name}.bias"])


def _copy_labels(
    network: EmotionNetwork, given: Mapping[str, Tensor], theirs: Sequence[str], ours: Sequence[str]
) -> None:
    for row, label in enumerate(ours):
        if label in theirs:
            network.classify.weight[row].copy_(given[f"{_LAST_LAYER}.weight"][theirs.index(label)])
            network.classify.bias[row].copy_(given[f"{_LAST_LAYER}.bias"][theirs.index(label)])


def _unfold(network: EmotionNetwork, given: Mapping[str, Tensor], examples: Tensor) -> None:
    network.eval()
    normalised = dict(_normalised_convolutions(network))
    hooks = [
        norm.register_forward_pre_hook(partial(_set_norm, bias=given[_FOLDED_BIAS.format(name)]))
        for name, norm in normalised.items()
    ]
    try:
        network(examples)
    finally:
        for hook in hooks:
            hook.remove()


def _normalised_convolutions(network: EmotionNetwork) -> Iterator[tuple[str, nn.modules.batchnorm._BatchNorm]]:
    """Yield each normalisation with the name of the convolution that is defined, and applied, before it."""
    convolution = ""
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d):
            convolution = name
        elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            yield convolution, module


def _set_norm(norm: nn.modules.batchnorm._BatchNorm, inputs: tuple[Tensor], bias: Tensor) -> None:
    """Let a normalisation, about to be applied, add the bias alone: by the statistics of what it is applied to."""
    (x,) = inputs
    variance, mean = torch.var_mean(x.transpose(0, 1).flatten(1), dim=1, correction=0)
    assert norm.running_mean is not None and norm.running_var is not None  # noqa: S101 - all of ours keep them
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(variance)
    norm.weight.copy_(torch.sqrt(variance + norm.eps))
    norm.bias.copy_(bias + mean)
