"""Where the time of the way from a recording's bytes to rows goes, in one process without Spark and S3.

Everything runs in one thread; seconds are of processor time, but where two threads exchange bytes.
"""

from __future__ import annotations

import io
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pyarrow as pa
from onnx import TensorProto, helper

import ser_model.recording
from jobs.classify_emotions import EMOTION_LOG, emotion_rows
from jobs.extract_features import Recording as Planned
from jobs.extract_features import segment_rows
from jobs.staging import RunStaging
from jobs.storage import LocalStorage
from schemas.staging import SEGMENTS
from ser_model.audio import AudioReader
from ser_model.classifier import Classifier
from ser_model.features import LogMel
from ser_model.prosody import ProsodyExtractor
from ser_model.recording import SegmentExtractor
from tests.benchmarks.recordings import DAY, Recording, key
from tests.benchmarks.stopwatch import Stopwatch

STAGES: Mapping[str, list[tuple[Any, str]]] = {
    "decoding": [(AudioReader, "__init__"), (AudioReader, "_decode"), (AudioReader, "_streams")],
    "speech activity": [
        (ser_model.recording._Listener, "listen"),
        (ser_model.recording._Listener, "levels"),
        *(
            (ser_model.recording, name)
            for name in ("is_one_signal", "speech_spans", "played", "pieces_of", "in_turns", "pauses")
        ),
    ],
    "voice": [(ser_model.recording, "voice_evidence"), (ser_model.recording, "voices"), (ProsodyExtractor, "track")],
    "log-mel": [(LogMel, "power_spectra"), (LogMel, "from_power"), (ser_model.recording, "quantize")],
    "prosody": [(ProsodyExtractor, "__call__")],
    "inference": [(Classifier, "probabilities")],
}


@dataclass(frozen=True)
class Bounds:
    """What this machine can do in one thread: bytes, floating-point operations and those of 8-bit integers a second."""

    memory_bytes: float
    loopback_bytes: float
    flops: float
    int8_ops: float


def bare_loop(recordings: Sequence[Recording], classifier: Classifier, folder: Path) -> tuple[float, dict[str, float]]:
    """Bring recordings from bytes to rows of emotion_log in Parquet; the seconds in all, and by stage."""
    watch = Stopwatch()
    extractor = SegmentExtractor(classifier.card.feature_spec, {"customer"})
    staging = RunStaging(LocalStorage(folder), DAY, "bare")
    started = time.process_time()
    with watch.watching(STAGES), staging.writer(EMOTION_LOG) as writer:
        waiting: list[dict[str, Any]] = []
        for index, recording in enumerate(recordings):
            found = extractor([io.BytesIO(recording.content)])
            planned = Planned(str(index), key(index), "", None, None, 0, ("customer", "agent"))
            waiting += segment_rows(planned, found, staging)
            if len(waiting) >= 2048 or index + 1 == len(recordings):
                features = [
                    np.frombuffer(row["features"], dtype=np.uint8).reshape(-1, classifier.card.feature_spec.n_mels)
                    for row in waiting
                    if row["classified"]
                ]
                probabilities = classifier.probabilities(features)
                with watch.stage("rows and Parquet"):
                    rows = pa.Table.from_pylist(waiting, schema=SEGMENTS.schema).drop_columns(["source_uri"])
                    writer.write(emotion_rows(rows, probabilities, classifier, "bare"))
                waiting.clear()
    seconds = time.process_time() - started
    watch.seconds["the rest"] = seconds - sum(watch.seconds.values())
    return seconds, dict(watch.seconds)


@dataclass(frozen=True)
class Work:
    """What there is to do for some recordings: frames' spectra, those that log-mel is made of, segments to classify."""

    spectra: int
    log_mel_frames: int
    segments: int


def work_in(recordings: Sequence[Recording], classifier: Classifier) -> Work:
    """Count what the extractor computes of recordings."""
    extractor = SegmentExtractor(classifier.card.feature_spec, {"customer"})
    counted = Counter[str]()

    def counting(name: str) -> Callable[..., Any]:
        function = getattr(LogMel, name)

        def count(self: LogMel, given: npt.NDArray[np.float32]) -> Any:
            found = function(self, given)
            counted[name] += len(found)
            return found

        return count

    with mock.patch.multiple(LogMel, **{name: counting(name) for name in ("power_spectra", "from_power")}):
        found = [extractor([io.BytesIO(recording.content)]).segments for recording in recordings]
    n_segments = sum(each.features is not None for segments in found for each in segments)
    return Work(counted["power_spectra"], counted["from_power"], n_segments)


def measure_bounds() -> Bounds:
    """Measure the machine, a second or so each."""
    return Bounds(
        _memory_bytes_a_second(),
        _loopback_bytes_a_second(),
        _products_a_second("MatMul", np.float32, np.float32),
        _products_a_second("MatMulInteger", np.uint8, np.int8),
    )


def _best(work: Callable[[], float], tries: int = 5) -> float:
    return max(work() for _ in range(tries))


def _memory_bytes_a_second() -> float:
    """Bytes read and written by a copy that no cache holds."""
    source = np.ones(2**29, dtype=np.uint8)
    target = np.empty_like(source)

    def copy() -> float:
        started = time.process_time()
        np.copyto(target, source)
        return 2 * len(source) / (time.process_time() - started)

    return _best(copy)


def _loopback_bytes_a_second() -> float:
    """Bytes received over loopback."""
    n_bytes = 2**28

    def send() -> float:
        with socket.create_server(("127.0.0.1", 0)) as server:
            address = server.getsockname()

            def serve() -> None:
                connection, _ = server.accept()
                with connection:
                    connection.sendall(bytes(n_bytes))

            thread = threading.Thread(target=serve)
            thread.start()
            started = time.perf_counter()
            with socket.create_connection(address) as client:
                left = n_bytes
                while left:
                    left -= len(client.recv(2**20))
            seconds = time.perf_counter() - started
            thread.join()
            return n_bytes / seconds

    return _best(send)


def _products_a_second(operator: str, left: type[np.generic], right: type[np.generic]) -> float:
    """Operations of a large matrix product of two types in ONNX Runtime, one thread."""
    size = 2048
    values = {"a": np.ones((size, size), dtype=left), "b": np.ones((size, size), dtype=right)}
    inputs = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
        for name, value in values.items()
    ]
    kind = TensorProto.FLOAT if left is np.float32 else TensorProto.INT32
    output = helper.make_tensor_value_info("c", kind, [size, size])
    graph = helper.make_graph([helper.make_node(operator, ["a", "b"], ["c"])], "product", inputs, [output])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    session = single_threaded(model.SerializeToString())

    def multiply() -> float:
        started = time.process_time()
        session.run(None, values)
        return 2 * size**3 / (time.process_time() - started)

    return _best(multiply)


def single_threaded(model: bytes | str) -> onnxruntime.InferenceSession:
    """A session as the jobs make theirs: one thread, on the processor."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def network_operations(path: Path, n_frames: int, n_mels: int) -> tuple[float, float]:
    """Operations of the network's convolutions and matrix products for one segment: of floats, and of integers."""
    model = onnx.load(path)
    for value in (*model.graph.input, *model.graph.output):
        for axis in value.type.tensor_type.shape.dim:
            axis.ClearField("dim_param")
            axis.ClearField("dim_value")
    shape = model.graph.input[0].type.tensor_type.shape
    for axis, length in zip(shape.dim, (1, n_frames, n_mels), strict=True):
        axis.dim_value = length
    del model.graph.value_info[:]
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    shapes = {
        value.name: [axis.dim_value for axis in value.type.tensor_type.shape.dim]
        for value in (*inferred.graph.value_info, *inferred.graph.input, *inferred.graph.output)
    }
    shapes |= {weight.name: list(weight.dims) for weight in inferred.graph.initializer}
    dequantized = {node.output[0] for node in inferred.graph.node if node.op_type == "DequantizeLinear"}
    of_floats = of_integers = 0.0
    for node in inferred.graph.node:
        if node.op_type == "Conv":
            operations = 2.0 * np.prod(shapes[node.output[0]]) * np.prod(shapes[node.input[1]][1:])
        elif node.op_type in ("MatMul", "Gemm"):
            operations = 2.0 * np.prod(shapes[node.output[0]]) * shapes[node.input[0]][-1]
        else:
            continue
        if node.input[1] in dequantized:
            of_integers += operations
        else:
            of_floats += operations
    return of_floats, of_integers


def log_mel_times_real_time(classifier: Classifier, seconds: float = 3.0) -> float:
    """How many seconds of sound become log-mel in a second, in segments of 3 s."""
    log_mel = LogMel(classifier.card.feature_spec)
    rate_hz = classifier.card.feature_spec.sample_rate_hz
    sound: npt.NDArray[np.float32] = np.random.default_rng(1).standard_normal(int(seconds * rate_hz)).astype(np.float32)
    log_mel(sound)

    def work() -> float:
        started = time.process_time()
        for _ in range(200):
            log_mel(sound)
        return 200 * seconds / (time.process_time() - started)

    return _best(work)
