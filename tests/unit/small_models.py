"""Model folders made here: the smallest networks that keep the contract, or break it in one place."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import yaml
from onnx import TensorProto, helper, numpy_helper

from ser_model.features import FeatureSpec, WaveformSpec

SPEC = FeatureSpec()
LABELS = ("neutral", "happy", "angry")
WEIGHTS = np.random.default_rng(7).standard_normal((SPEC.n_mels, len(LABELS))).astype(np.float32) / 100
WEIGHTS -= WEIGHTS.mean(axis=0)


def network(
    *,
    input_name: str = "log_mel",
    output_name: str = "logits",
    input_shape: tuple[Any, ...] = ("batch", "frames", SPEC.n_mels),
    n_outputs: int = len(LABELS),
    weights: np.ndarray = WEIGHTS,
) -> onnx.ModelProto:
    """A network that averages a segment's frames and multiplies the bands by weights."""
    weights = np.resize(weights, (input_shape[-1], n_outputs))
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", [input_name], ["mean"], axes=[1], keepdims=0),
            helper.make_node("MatMul", ["mean", "weights"], [output_name]),
        ],
        "mean",
        [helper.make_tensor_value_info(input_name, TensorProto.FLOAT, input_shape)],
        [helper.make_tensor_value_info(output_name, TensorProto.FLOAT, (input_shape[0], n_outputs))],
        [numpy_helper.from_array(weights, "weights")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def card_values(model: bytes) -> dict[str, Any]:
    return {
        "name": "mean",
        "version": "1.0",
        "sha256": hashlib.sha256(model).hexdigest(),
        "input": "log_mel",
        "labels": list(LABELS),
        "features": SPEC.to_dict(),
        "feature_hash": SPEC.hash,
        "temperature": 2.0,
        "conformal_threshold": 0.2,
        "commercial_use": True,
        "license": "CC0-1.0",
        "corpora": ["emodb"],
        "training_commit": "abc",
        "metrics": {"uar": 0.5},
    }


WAVEFORM = WaveformSpec(sample_rate_hz=16000, pad_samples=100)
WAVEFORM_WEIGHTS = np.array([[8.0, -3.0, 5.0]], np.float32)


def waveform_network(input_shape: tuple[Any, ...] = ("batch", "samples")) -> onnx.ModelProto:
    """A network that multiplies the mean of the samples' magnitudes by weights."""
    graph = helper.make_graph(
        [
            helper.make_node("Abs", ["waveform"], ["magnitude"]),
            helper.make_node("ReduceMean", ["magnitude"], ["mean"], axes=[1], keepdims=1),
            helper.make_node("MatMul", ["mean", "weights"], ["logits"]),
        ],
        "loudness",
        [helper.make_tensor_value_info("waveform", TensorProto.FLOAT, input_shape)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ("batch", 3))],
        [numpy_helper.from_array(WAVEFORM_WEIGHTS, "weights")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


WAVEFORM_CARD = {"input": "waveform", "features": WAVEFORM.to_dict(), "feature_hash": WAVEFORM.hash}


def write_model(
    folder: Path, model: onnx.ModelProto | bytes | None = None, change: dict[str, Any] | None = None
) -> Path:
    """Write a model folder; `change` alters its card, a value of None takes the key out."""
    model = network() if model is None else model
    content = model if isinstance(model, bytes) else model.SerializeToString()
    values = {**card_values(content), **(change or {})}
    values = {key: value for key, value in values.items() if value is not None}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(content)
    (folder / "model.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    return folder
