"""The emotion classifier: a folder with ``model.onnx`` and ``model.yaml``, run by ONNX Runtime.

Anyone's network that keeps the contract works: one input, ``log_mel``, float32 ``[batch, frames, n_mels]`` in
decibels, or ``waveform``, float32 ``[batch, samples]``, full scale 1.0; and one output, ``logits``, float32
``[batch, classes]``; batch and length free. What the model hears, how its classes are called and how its logits
become probabilities stands in ``model.yaml`` and is checked against the network when it is loaded. Knows nothing of
audio or of training: no torch here.
"""

import hashlib
import re
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnxruntime
import yaml

from ser_model.errors import (
    FeatureSpecError,
    ModelCardError,
    ModelContractError,
    ModelFolderError,
    ModelHashError,
    SegmentError,
)
from ser_model.features import FeatureSpec, InputSpec, ModelInput, WaveformSpec, padded_length
from ser_model.taxonomy import EMOTIONS

Probabilities = npt.NDArray[np.float32]
"""Class probabilities, ``[shape=(segments, classes)]``."""

NETWORK_FILE: Final = "model.onnx"
CARD_FILE: Final = "model.yaml"

REQUIRED_KEYS: Final[Mapping[str, type | tuple[type, ...]]] = {
    "name": str,
    "version": str,
    "sha256": str,
    "input": str,
    "labels": list,
    "features": dict,
    "feature_hash": str,
    "temperature": (int, float),
    "conformal_threshold": (int, float),
    "commercial_use": bool,
    "license": str,
    "corpora": list,
    "training_commit": str,
    "metrics": dict,
}
"""What ``model.yaml`` must say, and its type."""
OPTIONAL_KEYS: Final[Mapping[str, type]] = {"heard_speakers": dict, "evaluated_languages": list}
INPUT_SPECS: Final[Mapping[str, type[InputSpec]]] = {spec.input_name: spec for spec in (FeatureSpec, WaveformSpec)}
OUTPUT_NAME: Final = "logits"
_MAX_CARD_BYTES: Final = 1_000_000
_MAX_NETWORK_BYTES: Final = 2**31 - 1
_HIGHEST_TEMPERATURE: Final = 1000.0


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """What ``model.yaml`` says about a model.

    Attributes
    ----------
    name, version
        Which model this is.
    sha256
        Of ``model.onnx``, 64 hexadecimal digits.
    labels
        The emotion of each output, in the network's order.
    feature_spec
        What the network hears.
    temperature
        The logits are divided by it before the softmax.
    conformal_threshold
        Emotions with at least this probability form a set that holds the true one in 90% of the cases
        (the least ambiguous set-valued classifier of Sadinle, Lei and Wasserman, JASA 2019).
    commercial_use
        Whether the weights may be used commercially.
    license
        Licence of the weights.
    corpora
        What the network was trained on.
    training_commit
        Version of the code that trained it.
    metrics
        Measured figures, with the protocol that they were measured by.
    heard_speakers
        Of each corpus, the speakers that training or calibration heard: figures mean something on others alone
        (``model.yaml`` may omit it: then none of a training corpus is known to be unheard).
    evaluated_languages
        What was spoken in the tests that `metrics` are of: primary language subtags of BCP 47 (``model.yaml`` may
        omit it: then none is known).
    """

    name: str
    version: str
    sha256: str
    labels: tuple[str, ...]
    feature_spec: InputSpec
    temperature: float
    conformal_threshold: float
    commercial_use: bool
    license: str
    corpora: tuple[str, ...]
    training_commit: str
    metrics: Mapping[str, Any]
    heard_speakers: Mapping[str, tuple[str, ...]]
    evaluated_languages: tuple[str, ...] = ()

    @property
    def model_id(self) -> str:
        """Name, version and the first digits of the hash: what each scored row carries."""
        return f"{self.name}-{self.version}-{self.sha256[:8]}"

    @classmethod
    def load(cls, folder: Path) -> "ModelCard":
        """Read and check the ``model.yaml`` of a model folder, without its network.

        Raises
        ------
        ModelFolderError
            If the folder or the file is missing, or the file is not YAML.
        ModelCardError
            If a key is missing or has a wrong value.
        ModelHashError
            If the feature specification's hash is not the one stated.
        """
        return cls.from_dict(read_card_file(model_file(folder, CARD_FILE)))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "ModelCard":
        """Return the card that `to_dict` gave; raises as `load` does."""
        given = {key: typed_value(values, key, kind) for key, kind in REQUIRED_KEYS.items()}
        given |= {key: typed_value(values, key, kind) for key, kind in OPTIONAL_KEYS.items() if key in values}
        check_name("name", given["name"])
        check_name("version", given["version"])
        if not re.fullmatch(r"[0-9a-f]{64}", given["sha256"]):
            raise ModelCardError(
                f"sha256 is {_short(given['sha256'])}; expected 64 hexadecimal digits of {NETWORK_FILE}"
            )
        check_labels(given["labels"])
        check_languages(given.get("evaluated_languages", ()))
        check_calibration(given["temperature"], given["conformal_threshold"])
        return cls(
            name=given["name"],
            version=given["version"],
            sha256=given["sha256"],
            labels=tuple(given["labels"]),
            feature_spec=input_spec(values),
            temperature=float(given["temperature"]),
            conformal_threshold=float(given["conformal_threshold"]),
            commercial_use=given["commercial_use"],
            license=given["license"],
            corpora=tuple(map(str, given["corpora"])),
            training_commit=given["training_commit"],
            metrics=given["metrics"],
            heard_speakers={
                str(corpus): tuple(map(str, speakers)) if isinstance(speakers, list) else ()
                for corpus, speakers in given.get("heard_speakers", {}).items()
            },
            evaluated_languages=tuple(given.get("evaluated_languages", ())),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the card as plain values, in the order in which ``model.yaml`` shows them."""
        return {
            "name": self.name,
            "version": self.version,
            "sha256": self.sha256,
            "input": self.feature_spec.input_name,
            "labels": list(self.labels),
            "features": self.feature_spec.to_dict(),
            "feature_hash": self.feature_spec.hash,
            "temperature": self.temperature,
            "conformal_threshold": self.conformal_threshold,
            "commercial_use": self.commercial_use,
            "license": self.license,
            "corpora": list(self.corpora),
            "training_commit": self.training_commit,
            "heard_speakers": {corpus: list(speakers) for corpus, speakers in self.heard_speakers.items()},
            "evaluated_languages": list(self.evaluated_languages),
            "metrics": dict(self.metrics),
        }


class Classifier:
    """A loaded model: segments in, as its specification has them, class probabilities out.

    Runs on one thread. One object belongs to one process: make it where it is used.

    Parameters
    ----------
    card
        What the model is.
    session
        The network, already checked against the card: use `load`.
    """

    def __init__(self, card: ModelCard, session: onnxruntime.InferenceSession) -> None:
        self.card = card
        self._session = session

    @classmethod
    def load(cls, folder: Path) -> "Classifier":
        """Load a model folder and check that it keeps the contract.

        Parameters
        ----------
        folder
            Holds ``model.yaml`` and ``model.onnx``.

        Raises
        ------
        ModelFolderError
            If a file is missing or unreadable, or the network does not consist of one file.
        ModelCardError
            If ``model.yaml`` lacks a key or has a wrong value.
        ModelHashError
            If the network or the feature specification is not the one that ``model.yaml`` was written for.
        ModelContractError
            If the network's input or output is not as the contract says.
        """
        card = ModelCard.load(folder)
        path = model_file(folder, NETWORK_FILE)
        # The bytes that were hashed are the bytes that run.
        network = read_network_file(path)
        found = hashlib.sha256(network).hexdigest()
        if found != card.sha256:
            raise ModelHashError(
                f"{path} has sha256 {found}; {CARD_FILE} expects {card.sha256}: the network was changed after "
                f"{CARD_FILE} was written, or the folder mixes two models; export or copy it again"
            )
        classifier = cls(card, open_network(network, path))
        classifier._check_contract(path)
        return classifier

    def __repr__(self) -> str:
        spec = self.card.feature_spec
        heard = (
            f"[batch, frames, {spec.n_mels}], dB, a frame each {1000 * spec.frame_s:g} ms"
            if isinstance(spec, FeatureSpec)
            else "[batch, samples], full scale 1.0"
        )
        return (
            f"Classifier({self.card.model_id})\n"
            f"  input   {spec.input_name}: float32 {heard}\n"
            f"  output  {OUTPUT_NAME}: float32 [batch, {len(self.card.labels)}], "
            f"temperature {self.card.temperature:g}\n"
            f"  labels  {', '.join(self.card.labels)}\n"
            f"  rate    {spec.sample_rate_hz} Hz (features {spec.hash})\n"
            f"  licence {self.card.license}, commercial use: {'yes' if self.card.commercial_use else 'no'}"
        )

    def probabilities(self, segments: Sequence[ModelInput], batch_size: int = 16) -> Probabilities:
        """Classify segments.

        Each is padded at its end by its own length only and batched with others of the same padded length, so
        that its probabilities do not depend on what else is given.

        Parameters
        ----------
        segments
            Quantised log-mel, uint8 ``[shape=(frames, n_mels)]`` each, or samples, int16 ``[shape=(n,)]`` each, as
            `ser_model.features.model_input` makes them; their lengths may differ.
        batch_size
            Segments a run of the network, at most.

        Returns
        -------
        float32 ``[shape=(len(segments), classes)]``, in the order given; each row sums to 1.

        Raises
        ------
        SegmentError
            If a segment has another type or shape, or no length, or the network returns no finite numbers.
        """
        spec = self.card.feature_spec
        by_length: dict[int, list[int]] = {}
        for index, segment in enumerate(segments):
            if segment.dtype != spec.dtype or not segment.size or segment.shape[1:] != spec.item_shape:
                raise SegmentError(
                    f"segment {index} is {segment.dtype} of shape {segment.shape}; expected {spec.dtype.__name__} of "
                    f"shape {('at least 1', *spec.item_shape)}: model_input() of the model's own specification"
                )
            by_length.setdefault(padded_length(len(segment), spec), []).append(index)
        result = np.empty((len(segments), len(self.card.labels)), dtype=np.float32)
        for length, indices in by_length.items():
            for start in range(0, len(indices), batch_size):
                batch = indices[start : start + batch_size]
                result[batch] = self._run([segments[index] for index in batch], length)
        return result

    def _run(self, segments: Sequence[ModelInput], length: int) -> Probabilities:
        spec = self.card.feature_spec
        # Step 0 is silence: what is not filled is padding.
        padded = np.zeros((len(segments), length, *spec.item_shape), dtype=spec.dtype)
        for row, segment in zip(padded, segments, strict=True):
            row[: len(segment)] = segment
        (logits,) = self._session.run([OUTPUT_NAME], {spec.input_name: spec.network_input(padded)})
        if not np.isfinite(logits).all():
            raise SegmentError(
                f"model {self.card.model_id} returned a number that is not finite for a batch of "
                f"{len(segments)} segments of length {length}: the network is broken; use another model"
            )
        return softmax(logits, self.card.temperature)

    def _check_contract(self, path: Path) -> None:
        spec, n_classes = self.card.feature_spec, len(self.card.labels)
        check_node("input", self._session.get_inputs(), spec.input_name, (None, None, *spec.item_shape))
        check_node("output", self._session.get_outputs(), OUTPUT_NAME, (None, n_classes))
        # Declared shapes may leave everything open: two runs show what the network does.
        for batch, length in ((1, spec.padding), (2, 3 * spec.padding)):
            silence = spec.network_input(np.zeros((batch, length, *spec.item_shape), dtype=spec.dtype))
            try:
                (logits,) = self._session.run([OUTPUT_NAME], {spec.input_name: silence})
            except Exception as error:  # ONNX Runtime has no documented base class
                raise ModelContractError(
                    f"{path} fails on {batch} segments of length {length}: {error}; expected any batch and "
                    f"any multiple of {spec.padding}: export it with both left dynamic"
                ) from error
            if logits.shape != (batch, n_classes):
                raise ModelContractError(
                    f"{path} returns shape {logits.shape} for {batch} segments; expected ({batch}, {n_classes}), a "
                    f"column a label of {CARD_FILE}"
                )
            if not np.isfinite(logits).all():
                raise ModelContractError(
                    f"{path} returns {logits.ravel()[~np.isfinite(logits.ravel())][0]} for silence; expected finite "
                    "numbers: guard logarithms and divisions against nothing"
                )


def softmax(logits: npt.NDArray[np.float32], temperature: float = 1.0) -> Probabilities:
    """Return the probabilities of logits ``[shape=(n, classes)]`` divided by a temperature."""
    scaled = logits / np.float32(temperature)
    exponentials = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    probabilities: Probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)
    return probabilities


def emotion_set(probabilities: npt.ArrayLike, labels: Sequence[str], threshold: float) -> list[str]:
    """Return the emotions that one segment may have.

    Parameters
    ----------
    probabilities
        Of one segment, ``[shape=(classes,)]``.
    labels
        The emotion of each.
    threshold
        The card's `conformal_threshold`.

    Returns
    -------
    The labels with at least that probability, the most probable first; never empty.
    """
    row = np.asarray(probabilities)
    (members,) = emotion_sets(row[None], threshold)
    return [labels[index] for index in np.argsort(-row, kind="stable") if members[index]]


def emotion_sets(
    probabilities: Probabilities, threshold: float | npt.NDArray[np.floating[Any]]
) -> npt.NDArray[np.bool_]:
    """Return which classes are in each segment's set, ``[shape=(n, classes)]``; the most probable always is.

    Parameters
    ----------
    probabilities
        ``[shape=(n, classes)]``.
    threshold
        One for all, or each segment's own, ``[shape=(n, 1)]``: that of the model that it was classified by.
    """
    most = np.arange(probabilities.shape[1]) == probabilities.argmax(axis=1)[:, None]
    sets: npt.NDArray[np.bool_] = (probabilities >= threshold) | most
    return sets


def check_name(key: str, text: str) -> None:
    """Refuse a name or version that cannot be part of a model's id."""
    if not re.fullmatch(r"[A-Za-z0-9._]+", text):
        raise ModelCardError(f"{key} is {_short(text)}; expected letters, digits, '.' and '_' only")


def check_labels(labels: Sequence[Any]) -> None:
    """Refuse labels that are not different emotions of the taxonomy."""
    unknown = [label for label in labels if label not in EMOTIONS]
    if unknown or len(set(labels)) != len(labels) or len(labels) < 2:
        raise ModelCardError(
            f"labels are {_short(labels)}, unknown of them {_short(unknown)}; expected at least two different ones of "
            f"{list(EMOTIONS)}"
        )


def check_languages(languages: Sequence[Any]) -> None:
    """Refuse languages that are not different primary subtags of BCP 47."""
    known = all(isinstance(code, str) and re.fullmatch(r"[a-z]{2,3}", code) for code in languages)
    if not known or len(set(languages)) != len(languages):
        raise ModelCardError(
            f"evaluated_languages are {_short(list(languages))}; expected different primary language subtags of "
            "BCP 47, such as en (in quotes where YAML reads them otherwise: 'no')"
        )


def check_calibration(temperature: float, conformal_threshold: float) -> None:
    """Refuse a temperature or threshold that no calibration gives."""
    if not 0 < temperature < _HIGHEST_TEMPERATURE:
        raise ModelCardError(f"temperature is {_short(temperature)}; expected a positive number (1 for none)")
    if not 0 <= conformal_threshold <= 1:
        raise ModelCardError(f"conformal_threshold is {_short(conformal_threshold)}; expected a probability, 0 to 1")


def read_network_file(path: Path) -> bytes:
    """Return the bytes of a ``model.onnx``.

    Raises
    ------
    ModelFolderError
        If there are more than an ONNX file can have.
    """
    if path.stat().st_size > _MAX_NETWORK_BYTES:
        raise ModelFolderError(f"{path} has {path.stat().st_size} bytes; expected ONNX, which ends at 2 GB")
    return path.read_bytes()


def open_network(network: bytes, path: Path) -> onnxruntime.InferenceSession:
    """Open a network's bytes on one thread.

    Parameters
    ----------
    network
        An ONNX file.
    path
        Where it is from, for messages.

    Raises
    ------
    ModelFolderError
        If ONNX Runtime cannot load it, or its weights are in other files.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    # What fails is raised: nothing needs to be printed too.
    options.log_severity_level = 4
    # External data would be read from files that the hash does not cover, so it is looked for in a place
    # where nothing can be: below a file.
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(path))
    try:
        # Without the fallback, which prints and tries the same again.
        return onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"], enable_fallback=0)
    except Exception as error:  # ONNX Runtime has no documented base class
        if "external data" in str(error).lower():
            raise ModelFolderError(
                f"{path} keeps weights outside itself (ONNX external data); expected one file, the one that sha256 "
                "covers: save it again with all tensors inside"
            ) from error
        raise ModelFolderError(f"{path} is not a network that ONNX Runtime can load: {error}") from error


def check_node(kind: str, nodes: Iterable[Any], name: str, shape: tuple[int | None, ...]) -> Any:
    """Return a network's one input or output, or refuse another than this; None is an axis of any length.

    Raises
    ------
    ModelContractError
        If there are several, or the one has another name, type or shape.
    """
    nodes = list(nodes)
    try:
        found = [f"{node.name}: {node.type} {node.shape}" for node in nodes]
    except UnicodeDecodeError:
        raise ModelContractError(
            f"{NETWORK_FILE} has {kind}s with names that are no text; expected one {kind}, {name}: export it again"
        ) from None
    if len(nodes) == 1 and nodes[0].name == name and nodes[0].type == "tensor(float)":
        declared = nodes[0].shape
        if len(declared) == len(shape) and all(
            axis is None or not isinstance(stated, int) or stated == axis
            for axis, stated in zip(shape, declared, strict=True)
        ):
            return nodes[0]
    axes = ", ".join("any" if axis is None else str(axis) for axis in shape)
    raise ModelContractError(
        f"{NETWORK_FILE} has {kind}s {found}; expected one {kind}, {name}: tensor(float) [{axes}]: export it with "
        "these names"
    )


def model_file(folder: Path, name: str) -> Path:
    """Return a file of a model folder.

    Raises
    ------
    ModelFolderError
        If it is not there.
    """
    path = folder / name
    if not path.is_file():
        raise ModelFolderError(f"no {name} in {folder}; expected a model folder with {CARD_FILE} and {NETWORK_FILE}")
    return path


def read_card_file(path: Path) -> Mapping[str, Any]:
    """Read a ``model.yaml`` as keys and values, whatever they are.

    Raises
    ------
    ModelFolderError
        If it is no YAML, or no mapping.
    """
    if path.stat().st_size > _MAX_CARD_BYTES:
        raise ModelFolderError(f"{path} has {path.stat().st_size} bytes; expected at most {_MAX_CARD_BYTES}")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ModelFolderError(f"{path} is not YAML: {error}") from error
    if not isinstance(values, dict):
        raise ModelFolderError(f"{path} holds {type(values).__name__}; expected keys and values")
    return values


def typed_value(values: Mapping[str, Any], key: str, kind: type | tuple[type, ...]) -> Any:
    """Return the value of a key of ``model.yaml``.

    Raises
    ------
    ModelCardError
        If it is missing or of another type.
    """
    if key not in values:
        raise ModelCardError(f"{CARD_FILE} has no {key}; it has {_short(sorted(map(str, values)))}")
    value = values[key]
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        expected = " or ".join(k.__name__ for k in (kind if isinstance(kind, tuple) else (kind,)))
        raise ModelCardError(
            f"{key} in {CARD_FILE} is {_short(value)} ({type(value).__name__}); expected {expected}"
            + (": put it in quotes" if kind is str else "")
        )
    return value


def input_spec(values: Mapping[str, Any]) -> InputSpec:
    """Return what a ``model.yaml`` says that the network hears.

    Raises
    ------
    ModelCardError
        If it is no specification.
    ModelHashError
        If its hash is not the one stated.
    """
    if (kind := typed_value(values, "input", str)) not in INPUT_SPECS:
        raise ModelCardError(f"input in {CARD_FILE} is {_short(kind)}; expected {' or '.join(INPUT_SPECS)}")
    try:
        spec = INPUT_SPECS[kind].from_dict(typed_value(values, "features", dict))
    except FeatureSpecError as error:
        raise ModelCardError(f"features in {CARD_FILE}: {error}") from error
    stated = typed_value(values, "feature_hash", str)
    if stated != spec.hash:
        raise ModelHashError(
            f"feature_hash in {CARD_FILE} is {stated}; its features have {spec.hash}: one of them was changed by "
            "hand, and the network would hear what it was not trained on; export the model again"
        )
    return spec


def _short(value: Any) -> str:
    """Return a value as a message can show it: what a stranger's ``model.yaml`` holds may be very long."""
    shortened = reprlib.Repr()
    shortened.maxstring = shortened.maxother = 100
    shortened.maxlist = shortened.maxtuple = 20
    shortened.maxlevel = 3
    return shortened.repr(value)
