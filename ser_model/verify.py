"""Whether a model folder keeps the contract: every check with what was found and, where it fails, what to do.

Says everything that is wrong at once, where `Classifier.load` stops at the first. Whatever a folder holds ends as a
check's result; nothing in it is executed but the network, by ONNX Runtime. Knows nothing of audio or of training.
"""

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import onnxruntime

from ser_model.classifier import (
    CARD_FILE,
    NETWORK_FILE,
    OPTIONAL_KEYS,
    OUTPUT_NAME,
    REQUIRED_KEYS,
    Classifier,
    check_calibration,
    check_labels,
    check_languages,
    check_name,
    check_node,
    input_spec,
    model_file,
    open_network,
    read_card_file,
    read_network_file,
    typed_value,
)
from ser_model.errors import ModelCardError, ModelContractError, SerModelError
from ser_model.features import FeatureSpec, InputSpec, ModelInput
from ser_model.onnx_file import OnnxFile

Status = Literal["ok", "warning", "failed", "not tried"]

MAX_PARAMETERS: Final = 500_000
MAX_SIZE_BYTES: Final = 2_000_000
MAX_SEGMENT_MS: Final = 4.0
"""At 37% customer speech and segments of 3 s this is the 1.8 s a call hour of 2,000 call hours a core hour."""
MIN_OPSET: Final = 13
BATCH_TOLERANCE: Final = 1e-5
BATCH_SIZES: Final = (1, 7, 64)
SEGMENT_S: Final = 3.0
_SPEED_RUNS: Final = 5
_LONGEST_MESSAGE: Final = 600
_STANDARD_DOMAIN: Final = "ai.onnx"


@dataclass(frozen=True)
class Check:
    """The result of one check.

    Attributes
    ----------
    name
        What was checked.
    status
        ``warning``: the model works, but beyond what the pipeline was designed for; ``not tried``: what it needs has
        failed.
    found
        What was found; of a failure also what was expected and what to do.
    """

    name: str
    status: Status
    found: str


class _Warning(Exception):
    """What is allowed, but beyond the design."""


def verify(folder: Path) -> list[Check]:
    """Check a model folder against the contract.

    Parameters
    ----------
    folder
        Anything: what it is not is told.

    Returns
    -------
    A result a check, in a fixed order; the folder keeps the contract where none has failed.
    """
    verification = _Verification(folder)
    done: dict[str, Check] = {}
    for name, needs, check in verification.checks():
        missing = [need for need in needs if done[need].status in ("failed", "not tried")]
        if missing:
            done[name] = Check(name, "not tried", f"needs {', '.join(missing)}")
            continue
        try:
            done[name] = Check(name, "ok", check())
        except _Warning as warning:
            done[name] = Check(name, "warning", str(warning))
        except SerModelError as error:
            done[name] = Check(name, "failed", _one_line(str(error)))
        except Exception as error:  # whatever a stranger's folder holds
            what = _one_line(f"{type(error).__name__}: {error}")
            done[name] = Check(name, "failed", f"{what}; expected a model folder as docs/model.md describes it")
    return list(done.values())


def _one_line(text: str) -> str:
    """A message of a library may be long, and of several lines."""
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST_MESSAGE else f"{line[:_LONGEST_MESSAGE]} ..."


class _Verification:
    """One folder's checks, and what the earlier ones found out for the later."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._content = b""
        self._values: Mapping[str, Any] = {}
        self._labels: Sequence[str] = ()
        self._spec: InputSpec = FeatureSpec()
        self._session: onnxruntime.InferenceSession
        self._classifier: Classifier
        self._file = OnnxFile({}, 0)

    def checks(self) -> Sequence[tuple[str, Sequence[str], Callable[[], str]]]:
        """Name, the checks that must not have failed, and the check: returns what it found, or raises."""
        return (
            ("model.yaml", (), self._yaml),
            ("model.onnx", (), self._onnx),
            ("keys", ("model.yaml",), self._keys),
            ("names", ("keys",), self._names),
            ("labels", ("keys",), self._label_names),
            ("features", ("keys",), self._features),
            ("calibration", ("keys",), self._calibration),
            ("sha256", ("keys", "model.onnx"), self._sha256),
            ("network", ("model.onnx",), self._network),
            ("operators", ("network",), self._operators),
            ("input", ("network", "features"), self._input),
            ("output", ("network", "labels"), self._output),
            ("loads", ("names", "labels", "features", "calibration", "sha256", "input", "output"), self._loads),
            ("finite", ("loads",), self._finite),
            ("batches", ("finite",), self._batches),
            ("parameters", ("network",), self._parameters),
            ("speed", ("finite",), self._speed),
        )

    def _yaml(self) -> str:
        self._values = read_card_file(model_file(self._folder, CARD_FILE))
        return f"{len(self._values)} keys"

    def _onnx(self) -> str:
        self._content = read_network_file(model_file(self._folder, NETWORK_FILE))
        found = f"{len(self._content) / 1e6:.2f} MB"
        if len(self._content) > MAX_SIZE_BYTES:
            raise _Warning(f"{found}; the pipeline was designed for up to {MAX_SIZE_BYTES / 1e6:g} MB")
        return found

    def _keys(self) -> str:
        problems = []
        for key, kind in {**REQUIRED_KEYS, **OPTIONAL_KEYS}.items():
            if key in self._values or key in REQUIRED_KEYS:
                try:
                    typed_value(self._values, key, kind)
                except ModelCardError as error:
                    problems.append(str(error))
        if problems:
            raise ModelCardError("; ".join(problems))
        return f"all {len(REQUIRED_KEYS)} that are needed, of the right types"

    def _names(self) -> str:
        name, version = self._values["name"], self._values["version"]
        check_name("name", name)
        check_name("version", version)
        check_languages(tuple(self._values.get("evaluated_languages", ())))
        return f"{name} {version}, licence {self._values['license']}"

    def _label_names(self) -> str:
        check_labels(self._values["labels"])
        self._labels = tuple(self._values["labels"])
        return ", ".join(self._labels)

    def _features(self) -> str:
        self._spec = input_spec(self._values)
        return f"{self._spec.input_name} at {self._spec.sample_rate_hz} Hz, hash {self._spec.hash}"

    def _calibration(self) -> str:
        temperature, threshold = self._values["temperature"], self._values["conformal_threshold"]
        check_calibration(temperature, threshold)
        return f"temperature {temperature:g}, conformal threshold {threshold:g}"

    def _sha256(self) -> str:
        found, stated = hashlib.sha256(self._content).hexdigest(), self._values["sha256"]
        if found != stated:
            raise ModelCardError(
                f"{NETWORK_FILE} has {found}; {CARD_FILE} expects {stated}: write the former into {CARD_FILE} if this "
                "is the right network, else copy or export it again"
            )
        return f"{found[:16]}..."

    def _network(self) -> str:
        self._session = open_network(self._content, self._folder / NETWORK_FILE)
        self._file = OnnxFile.read(self._content)
        return f"loads in ONNX Runtime {onnxruntime.__version__}"

    def _operators(self) -> str:
        foreign = sorted(set(self._file.opsets) - {_STANDARD_DOMAIN})
        opset = self._file.opsets.get(_STANDARD_DOMAIN, 0)
        if foreign:
            raise ModelContractError(
                f"operators of {', '.join(foreign)}; expected those of {_STANDARD_DOMAIN} alone: export without "
                "optimising for one runtime"
            )
        if opset < MIN_OPSET:
            raise ModelContractError(f"opset {opset}; expected at least {MIN_OPSET}: export it with a newer one")
        return f"opset {opset} of {_STANDARD_DOMAIN}"

    def _input(self) -> str:
        node = check_node(
            "input", self._session.get_inputs(), self._spec.input_name, (None, None, *self._spec.item_shape)
        )
        return f"{node.name}: {node.type} {node.shape}"

    def _output(self) -> str:
        node = check_node("output", self._session.get_outputs(), OUTPUT_NAME, (None, len(self._labels)))
        return f"{node.name}: {node.type} {node.shape}"

    def _loads(self) -> str:
        self._classifier = Classifier.load(self._folder)
        return f"as {self._classifier.card.model_id}, with batch and length free"

    def _finite(self) -> str:
        for what, segments in self._samples().items():
            result = self._classifier.probabilities(segments)  # raises where a number is not finite
            if not np.allclose(result.sum(axis=1), 1, atol=1e-4):
                raise ModelContractError(f"probabilities of {what} do not sum to 1; expected logits as output")
        return f"for {', '.join(self._samples())}"

    def _batches(self) -> str:
        segments = [segment for several in self._samples().values() for segment in several]
        alone = self._classifier.probabilities(segments, BATCH_SIZES[0])
        for size in BATCH_SIZES[1:]:
            for order in (slice(None), slice(None, None, -1)):
                together = self._classifier.probabilities(segments[order], size)[order]
                difference = float(np.abs(together - alone).max())
                if not difference <= BATCH_TOLERANCE:
                    raise ModelContractError(
                        f"a segment's probabilities change by {difference:.2g} in batches of {size}; expected at most "
                        f"{BATCH_TOLERANCE:g}: use no statistics of the batch (batch normalisation in training mode, "
                        "dynamic quantisation); quantise statically"
                    )
        return f"the same alone and in batches of {' and '.join(map(str, BATCH_SIZES[1:]))}, to {BATCH_TOLERANCE:g}"

    def _parameters(self) -> str:
        found = f"{self._file.parameters:,}"
        if self._file.parameters > MAX_PARAMETERS:
            raise _Warning(f"{found}; the pipeline was designed for up to {MAX_PARAMETERS:,}")
        return found

    def _speed(self) -> str:
        length = round(SEGMENT_S * self._spec.sample_rate_hz)
        if isinstance(self._spec, FeatureSpec):
            length = self._spec.n_frames(length)
        segments = self._random(length, BATCH_SIZES[-1])
        self._classifier.probabilities(segments)
        times_s = []
        for _ in range(_SPEED_RUNS):
            started = time.perf_counter()
            self._classifier.probabilities(segments)
            times_s.append(time.perf_counter() - started)
        each_ms = 1000 * float(np.median(times_s)) / len(segments)
        found = f"{each_ms:.2f} ms for a segment of {SEGMENT_S:g} s, in batches of {len(segments)} on one core"
        if each_ms > MAX_SEGMENT_MS:
            raise _Warning(f"{found}; the pipeline was designed for up to {MAX_SEGMENT_MS:g} ms")
        return found

    def _samples(self) -> Mapping[str, list[ModelInput]]:
        """Segments of every kind that occurs: the longest and the shortest, the loudest and nothing at all."""
        loudest = np.iinfo(self._spec.dtype).max
        lengths = (1, self._spec.padding, self._spec.padding + 1, 3 * self._spec.padding)
        return {
            "silence": [np.zeros((n, *self._spec.item_shape), self._spec.dtype) for n in lengths],
            "the loudest input": [np.full((n, *self._spec.item_shape), loudest, self._spec.dtype) for n in lengths],
            "noise": [segment for n in lengths for segment in self._random(n, 40)],
        }

    def _random(self, length: int, count: int) -> list[ModelInput]:
        random, limits = np.random.default_rng(0), np.iinfo(self._spec.dtype)
        shape = (length, *self._spec.item_shape)
        return [
            # Each of a level of its own, so that segments of a batch differ.
            (random.integers(limits.min, limits.max, shape) // random.integers(1, 9)).astype(self._spec.dtype)
            for _ in range(count)
        ]
