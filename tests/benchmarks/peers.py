"""Other ways to do the same work, on the same recordings, each in one thread; seconds are of processor time.

A peer whose library is not installed is not measured, and the result says so.
"""

from __future__ import annotations

import io
import time
from collections.abc import Sequence
from pathlib import Path

import librosa
import numpy as np
import onnx
import pandas as pd
from onnx import TensorProto, helper, numpy_helper

from ser_model.classifier import Classifier
from tests.benchmarks.recordings import RATE_HZ, Recording
from tests.benchmarks.stages import single_threaded

LONGEST_S = 3.0
SILENCE_DB = 40


def plain_script(
    recordings: Sequence[Recording], model_folder: Path, sample_rate_hz: int | None, folder: Path
) -> float:
    """The script that anyone would write first: librosa and one call of the same network a segment, pandas to Parquet.

    Parameters
    ----------
    sample_rate_hz
        What librosa is to load at; None for its default of 22,050 Hz, with frames as long in seconds.

    Returns
    -------
    Seconds.
    """
    session = single_threaded(str(model_folder / "model.onnx"))
    card = Classifier.load(model_folder).card
    spec = card.feature_spec
    name = session.get_inputs()[0].name
    started = time.process_time()
    rows = []
    for number, recording in enumerate(recordings):
        options = {} if sample_rate_hz is None else {"sr": sample_rate_hz}
        sound, rate_hz = librosa.load(io.BytesIO(recording.content), mono=False, **options)
        customer = sound[0]
        scale = rate_hz / spec.sample_rate_hz
        n_fft, hop = round(spec.window_length * scale), round(spec.hop_length * scale)
        for start, end in librosa.effects.split(customer, top_db=SILENCE_DB):
            for first in range(start, end, int(LONGEST_S * rate_hz)):
                piece = customer[first : min(first + int(LONGEST_S * rate_hz), end)]
                if len(piece) < n_fft:
                    continue
                mel = librosa.feature.melspectrogram(
                    y=piece,
                    sr=rate_hz,
                    n_fft=n_fft,
                    hop_length=hop,
                    n_mels=spec.n_mels,
                    fmin=spec.f_min_hz,
                    fmax=spec.f_max_hz,
                )
                log_mel = librosa.power_to_db(mel, ref=1.0, top_db=None).T[None].astype(np.float32)
                padding = -log_mel.shape[1] % spec.pad_frames
                log_mel = np.pad(log_mel, ((0, 0), (0, padding), (0, 0)), constant_values=spec.min_db)
                logits = session.run(None, {name: log_mel})[0][0]
                shares = np.exp(logits - logits.max())
                shares /= shares.sum()
                emotion = card.labels[int(shares.argmax())]
                row = {"call": number, "start_s": first / rate_hz, "end_s": (first + len(piece)) / rate_hz}
                rows.append(row | {"emotion": emotion} | dict(zip(card.labels, shares.tolist(), strict=True)))
    pd.DataFrame(rows).to_parquet(folder / "plain.parquet")
    return time.process_time() - started


def opensmile_functionals(recordings: Sequence[Recording]) -> float | None:
    """Seconds of eGeMAPS functionals of both channels of whole recordings; None without opensmile."""
    try:
        import opensmile
    except ModuleNotFoundError:
        return None
    smile = opensmile.Smile(opensmile.FeatureSet.eGeMAPSv02, opensmile.FeatureLevel.Functionals)
    sounds = [librosa.load(io.BytesIO(each.content), sr=RATE_HZ, mono=False)[0] for each in recordings]
    started = time.process_time()
    for sound in sounds:
        for channel in sound:
            smile.process_signal(channel, RATE_HZ)
    return time.process_time() - started


def kaldi_times_real_time(seconds: float = 3.0) -> float | None:
    """How many seconds of sound kaldi-native-fbank brings to 64 log-mel bands in a second; None without it."""
    try:
        import kaldi_native_fbank as knf
    except ModuleNotFoundError:
        return None
    options = knf.FbankOptions()
    options.frame_opts.samp_freq = RATE_HZ
    options.frame_opts.dither = 0
    options.frame_opts.frame_length_ms = 50.0
    options.frame_opts.frame_shift_ms = 16.0
    options.mel_opts.num_bins = 64
    sound = np.random.default_rng(1).standard_normal(int(seconds * RATE_HZ)).astype(np.float32)

    def work() -> float:
        started = time.process_time()
        for _ in range(50):
            fbank = knf.OnlineFbank(options)
            fbank.accept_waveform(RATE_HZ, sound)
            fbank.input_finished()
            np.stack([fbank.get_frame(index) for index in range(fbank.num_frames_ready)])
        return 50 * seconds / (time.process_time() - started)

    return max(work() for _ in range(3))


def transformer_seconds(seconds: float = 3.0) -> float:
    """Seconds that a network of wav2vec2-base's shape, with random weights, takes for so much speech at 16 kHz."""
    session = single_threaded(_wav2vec2_base().SerializeToString())
    sound = np.zeros((1, 1, int(seconds * 16_000)), dtype=np.float32)
    session.run(None, {"sound": sound})
    started = time.process_time()
    session.run(None, {"sound": sound})
    return time.process_time() - started


def _wav2vec2_base() -> onnx.ModelProto:
    """wav2vec2-base's convolutions and twelve layers (Baevski et al. 2020, table of the base model), at random."""
    rng = np.random.default_rng(1)
    nodes, weights = [], []
    width, inner, heads, layers = 768, 3072, 12, 12

    def weight(*shape: int) -> str:
        name = f"w{len(weights)}"
        weights.append(numpy_helper.from_array((0.02 * rng.standard_normal(shape)).astype(np.float32), name))
        return name

    def constant(values: Sequence[int]) -> str:
        name = f"c{len(weights)}"
        weights.append(numpy_helper.from_array(np.array(values, dtype=np.int64), name))
        return name

    def node(kind: str, *inputs: str, **attributes: object) -> str:
        output = f"n{len(nodes)}"
        nodes.append(helper.make_node(kind, list(inputs), [output], **attributes))
        return output

    def norm(x: str) -> str:
        return node("LayerNormalization", x, weight(width), weight(width), axis=-1)

    def split_heads(x: str, order: Sequence[int]) -> str:
        return node("Transpose", node("Reshape", x, constant([0, -1, heads, width // heads])), perm=list(order))

    x, channels = "sound", 1
    for kernel, stride in ((10, 5), (3, 2), (3, 2), (3, 2), (3, 2), (2, 2), (2, 2)):
        x = node("Gelu", node("Conv", x, weight(512, channels, kernel), strides=[stride], kernel_shape=[kernel]))
        channels = 512
    x = node("MatMul", node("Transpose", x, perm=[0, 2, 1]), weight(512, width))
    for _ in range(layers):
        query, key, value = (
            split_heads(node("MatMul", x, weight(width, width)), order)
            for order in ((0, 2, 1, 3), (0, 2, 3, 1), (0, 2, 1, 3))
        )
        mixed = node("MatMul", node("Softmax", node("MatMul", query, key), axis=-1), value)
        joined = node("Reshape", node("Transpose", mixed, perm=[0, 2, 1, 3]), constant([0, -1, width]))
        x = norm(node("Add", x, node("MatMul", joined, weight(width, width))))
        wide = node("Gelu", node("MatMul", x, weight(width, inner)))
        x = norm(node("Add", x, node("MatMul", wide, weight(inner, width))))
    graph = helper.make_graph(
        nodes,
        "wav2vec2-base",
        [helper.make_tensor_value_info("sound", TensorProto.FLOAT, [1, 1, None])],
        [helper.make_tensor_value_info(x, TensorProto.FLOAT, None)],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
