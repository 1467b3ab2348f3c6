"""From a training run to a model folder: network, ``model.yaml`` and card, calibrated and measured.

Temperature and conformal threshold are fitted on the development speakers, figures are measured on the test
speakers by the exported file; or, for a network trained on all speakers, both come from the cross-validation of its
recipe. The card's numbers come from here, never from a hand. Needs torch.
"""

import hashlib
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from string import Template
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
import onnx
import onnxruntime
import torch
import yaml
from torch import Tensor, nn

from ser_model.classifier import CARD_FILE, NETWORK_FILE, OUTPUT_NAME, Classifier, ModelCard
from ser_model.conditions import CONDITIONS
from ser_model.corpora import CORPORA, Clip, CorpusContents
from ser_model.errors import TrainingRunError
from ser_model.evaluate import (
    Evaluation,
    among,
    calibrate,
    clip_segments,
    evaluate,
    figures,
    unweighted_average_recall,
)
from ser_model.features import FeatureSpec
from ser_model.fine_tuning import Ancestor
from ser_model.network import EmotionNetwork
from ser_model.predictions import joined
from ser_model.quantization import to_int8
from ser_model.saved_runs import CALIBRATED_ON, Listener, Run, read_runs, run_splits
from ser_model.train import Split, TrainingConfig, clip_logits, load_run, pad_segments, run_ancestor, split_clips

README_FILE: Final = "README.md"
OPSET: Final = 18

_TEMPLATE: Final = Path(__file__).parent / "configs" / "card.md"
_TOLERANCE: Final = 1e-4
_CARD_WIDTH: Final = 118
_SCALED_BY: Final = 400
"""Clips that follow the scales of a network in integers; each under the conditions that it is calibrated on."""


@dataclass(frozen=True)
class _Measured:
    """What is fitted and measured of a model, by the protocol that says how."""

    temperature: float
    conformal_threshold: float
    evaluations: Sequence[Evaluation]
    protocol: str


def export_run(
    run_folder: Path,
    model_folder: Path,
    corpora: Mapping[str, CorpusContents],
    runs_folder: Path | None = None,
    *,
    int8: bool = False,
) -> None:
    """Write the model folder of a run.

    Parameters
    ----------
    run_folder
        A run of `ser_model.train.train`; the network of its last epoch is exported.
    model_folder
        Gets ``model.onnx``, ``model.yaml`` and ``README.md``.
    corpora
        Those of the run's configuration.
    runs_folder
        Of a run that was trained on all speakers: the runs of the same recipe's cross-validation
        (`ser_model.crossvalidation`), which the figures are of and by which the model is calibrated.
    int8
        Whether the network is brought to 8-bit integers (`ser_model.quantization`), and with it those of the
        cross-validation, each by clips that it was trained on.

    Raises
    ------
    TrainingRunError
        If the run has no checkpoint, there are no speakers to calibrate and measure it by, the runs are of another
        recipe, or the exported network does not compute what the trained one does.
    """
    config, network, run = load_run(run_folder)
    split = split_clips(config, corpora)
    ancestor = run_ancestor(run)
    model_folder.mkdir(parents=True, exist_ok=True)
    export_network(network, config.features, model_folder / NETWORK_FILE)
    heard_by: nn.Module = network
    if int8:
        quantized = _in_int8(model_folder / NETWORK_FILE, split.train, config.features)
        (model_folder / NETWORK_FILE).write_bytes(quantized)
        heard_by = ExportedNetwork(quantized, config.features)
    card = ModelCard(
        name=config.name,
        version=config.version + (".int8" if int8 else ""),
        sha256=hashlib.sha256((model_folder / NETWORK_FILE).read_bytes()).hexdigest(),
        labels=config.labels,
        feature_spec=config.features,
        temperature=1.0,
        conformal_threshold=0.0,
        commercial_use=config.commercial_use,
        license=config.license,
        corpora=tuple(dict.fromkeys((*(ancestor.corpora if ancestor else ()), *config.corpora))),
        training_commit=run["commit"],
        metrics={},
        heard_speakers=_heard(split, ancestor),
    )
    if runs_folder is None:
        measured = _by_held_speakers(config, heard_by, run, split, card, model_folder)
    else:
        measured = _by_crossvalidation(config, ancestor, runs_folder, corpora, int8=int8)
    evaluations = measured.evaluations
    card = replace(
        card,
        temperature=measured.temperature,
        conformal_threshold=measured.conformal_threshold,
        metrics={"protocol": measured.protocol, "results": [_summary(result) for result in evaluations]},
        evaluated_languages=languages([result.corpus for result in evaluations]),
    )
    _write_card(card, model_folder)
    readme = Template(_TEMPLATE.read_text(encoding="utf-8")).substitute(
        _card_values(config, network, card, evaluations, measured.protocol, ancestor, int8=int8)
        | {"folder": model_folder.name}
    )
    (model_folder / README_FILE).write_text(readme, encoding="utf-8")
    Classifier.load(model_folder)


def _by_held_speakers(
    config: TrainingConfig,
    network: nn.Module,
    run: Mapping[str, Any],
    split: Split,
    card: ModelCard,
    model_folder: Path,
) -> _Measured:
    """Calibrate a model on its development speakers and measure the exported file on its test speakers."""
    if not split.development or not split.test:
        raise TrainingRunError(
            f"the run has {len(split.development)} clips for development and {len(split.test)} for test; expected both"
            ": name their speakers in the configuration, or the runs of a cross-validation with --crossvalidation"
        )
    heard = [clip_segments(split.development, config.features, name) for name in CALIBRATED_ON]
    logits = np.concatenate([clip_logits(network, clips, config.features) for clips in heard])
    truth = np.tile([config.labels.index(clip.emotion) for clip in split.development], len(CALIBRATED_ON))
    temperature, threshold = calibrate(logits, truth)
    _write_card(replace(card, temperature=temperature, conformal_threshold=threshold), model_folder)
    classifier = Classifier.load(model_folder)
    evaluations = [
        evaluate(classifier, [clip for clip in split.test if clip.corpus == corpus], condition)
        for corpus in dict.fromkeys(clip.corpus for clip in split.test)
        for condition in CONDITIONS
    ]
    return _Measured(temperature, threshold, evaluations, _protocol(config, run))


def _by_crossvalidation(
    config: TrainingConfig,
    ancestor: Ancestor | None,
    runs_folder: Path,
    corpora: Mapping[str, CorpusContents],
    *,
    int8: bool,
) -> _Measured:
    """Calibrate a model by what networks of its recipe made of speakers that they never heard, and measure those."""
    runs = [run for run in read_runs(runs_folder)[0] if run.fold.isdigit()]
    everyone = {name: replace(split, development=(), test=()) for name, split in config.corpora.items()}
    same = (
        replace(run.config, seed=config.seed, corpora=everyone) == config and run.ancestor == ancestor for run in runs
    )
    if not runs or not all(same):
        raise TrainingRunError(
            f"{runs_folder} has {len(runs)} finished runs of folds; expected some, of the configuration and --init of "
            "the run but for seed and speakers left out, and a run that leaves out none"
        )
    splits = run_splits(runs, corpora)
    in_float = None
    if int8:
        in_float = _uar_by_seed(config, runs, Listener(runs_folder, runs, splits, CONDITIONS, (), print), splits)
        runs = [run_in_int8(run, splits[run.name].train) for run in runs]
    listener = Listener(runs_folder, runs, splits, CONDITIONS, (), print)
    temperature, threshold = listener.calibration_by(runs)
    evaluations = []
    for corpus in dict.fromkeys(clip.corpus for split in splits.values() for clip in split.test):
        labels = [label for label in config.labels if label in CORPORA[corpus].emotions]
        clean = None
        for condition in CONDITIONS:
            found = joined(
                [
                    listener.hear(run, [clip for clip in splits[run.name].test if clip.corpus == corpus], condition)
                    for run in runs
                ]
            )
            probabilities = among(found.probabilities, config.labels, labels)
            named = probabilities.argmax(axis=1)
            clean = named if clean is None else clean
            unchanged = float((named == clean).mean())
            evaluations.append(figures(probabilities, found.clips, labels, condition, found.thresholds, unchanged))
    by_seed = _uar_by_seed(config, runs, listener, splits)
    protocol = _crossvalidation_protocol(config, runs, by_seed, in_float)
    return _Measured(temperature, threshold, evaluations, protocol)


def _heard(split: Split, ancestor: Ancestor | None) -> dict[str, tuple[str, ...]]:
    heard = {corpus: set(speakers) for corpus, speakers in ancestor.heard_speakers.items()} if ancestor else {}
    for clip in (*split.train, *split.development):
        heard.setdefault(clip.corpus, set()).add(clip.speaker)
    return {corpus: tuple(sorted(speakers)) for corpus, speakers in heard.items()}


def languages(corpora: Iterable[str]) -> tuple[str, ...]:
    """Return what is spoken in corpora, each language once, as primary subtags of BCP 47."""
    return tuple(dict.fromkeys(CORPORA[name].language for name in corpora))


def export_network(network: EmotionNetwork, spec: FeatureSpec, path: Path) -> None:
    """Write a network as one ONNX file with batch and frames left open, and compare the two.

    Raises
    ------
    TrainingRunError
        If their logits differ by more than 1e-4.
    """
    network.eval()
    random = torch.Generator().manual_seed(0)
    example = torch.rand((2, 4 * spec.pad_frames, spec.n_mels), generator=random) * (spec.max_db - spec.min_db)
    example += spec.min_db
    program = torch.onnx.export(
        network.to(memory_format=torch.contiguous_format),
        (example,),
        input_names=[spec.input_name],
        output_names=[OUTPUT_NAME],
        dynamic_shapes=({0: torch.export.Dim("batch"), 1: spec.pad_frames * torch.export.Dim("blocks")},),
        opset_version=OPSET,
        dynamo=True,
        verbose=False,
    )
    model = program.model_proto
    # Traces of the machine that exported (paths, source lines) are nobody's business.
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for entry in (*model.graph.value_info, *model.graph.input, *model.graph.output):
        del entry.metadata_props[:]
    del model.graph.metadata_props[:], model.metadata_props[:]
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    with torch.no_grad():
        silence = torch.full_like(example, spec.min_db)
        for segments in (example, example[:1, : spec.pad_frames], example.repeat(4, 2, 1), silence):
            (exported,) = session.run([OUTPUT_NAME], {spec.input_name: segments.numpy()})
            difference = float(np.abs(exported - network(segments).numpy()).max())
            if not difference <= _TOLERANCE:
                raise TrainingRunError(
                    f"{path} differs from the trained network by {difference:.2g} for {tuple(segments.shape)}; "
                    f"expected at most {_TOLERANCE}"
                )


class ExportedNetwork(nn.Module):
    """A network's ONNX file as a module, to be measured as the trained one is.

    Parameters
    ----------
    content
        The file's bytes.
    spec
        What it hears.
    """

    def __init__(self, content: bytes, spec: FeatureSpec) -> None:
        super().__init__()
        self._session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        self._input = spec.input_name

    def forward(self, log_mel: Tensor) -> Tensor:
        """Return logits ``[batch, classes]`` of decibels ``[batch, frames, n_mels]``."""
        (logits,) = self._session.run([OUTPUT_NAME], {self._input: log_mel.numpy()})
        return torch.from_numpy(logits)


def _in_int8(path: Path, clips: Sequence[Clip], spec: FeatureSpec) -> bytes:
    """Return a network in 8-bit integers, whose scales follow from some of the clips that it was trained on."""
    drawn = np.random.default_rng(0).permutation(len(clips))[:_SCALED_BY]
    heard = (
        segment
        for condition in CALIBRATED_ON
        for pieces in clip_segments([clips[index] for index in drawn], spec, condition)
        for segment in pieces
    )
    return to_int8(path.read_bytes(), (pad_segments([segment], spec).numpy() for segment in heard))


def run_in_int8(run: Run, clips: Sequence[Clip]) -> Run:
    """Return a run whose network computes in 8-bit integers, scaled by clips that it was trained on."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / NETWORK_FILE
        export_network(run.network, run.config.features, path)
        content = _in_int8(path, clips, run.config.features)
    return replace(run, network=ExportedNetwork(content, run.config.features), precision="int8")


def _write_card(card: ModelCard, folder: Path) -> None:
    text = yaml.safe_dump(card.to_dict(), sort_keys=False, allow_unicode=True, width=110)
    (folder / CARD_FILE).write_text(text, encoding="utf-8")


def _protocol(config: TrainingConfig, run: Mapping[str, Any]) -> str:
    held = "; ".join(f"{name}: {', '.join(split.test)}" for name, split in config.corpora.items() if split.test)
    development = "; ".join(
        f"{name}: {', '.join(split.development)}" for name, split in config.corpora.items() if split.development
    )
    return (
        f"Speaker-independent, one split fixed in the configuration, one seed ({config.seed}). Test speakers ({held}) "
        f"were used for nothing but these figures, which were measured on the model.onnx beside this file; temperature "
        f"and conformal threshold were fitted on {development}; the network is that of the last of "
        f"{run['epochs_done']} epochs, no epoch was chosen. {_how_clips_are_heard(config)}"
    )


def _uar_by_seed(
    config: TrainingConfig, runs: Sequence[Run], listener: Listener, splits: Mapping[str, Split]
) -> dict[int, list[float]]:
    """The UAR of each run on its test speakers of the corpus that the recipe is measured on, g711, by seed."""
    by_seed: dict[int, list[float]] = {}
    for run in runs:
        clips = [clip for clip in splits[run.name].test if clip.corpus == config.measured_on]
        found = listener.hear(run, clips, "g711")
        uar = unweighted_average_recall(found.truth, found.probabilities.argmax(axis=1))
        by_seed.setdefault(run.seed, []).append(uar)
    return by_seed


def _crossvalidation_protocol(
    config: TrainingConfig,
    runs: Sequence[Run],
    by_seed: Mapping[int, Sequence[float]],
    in_float: Mapping[int, Sequence[float]] | None,
) -> str:
    seeds = "; ".join(
        f"seed {seed}: {', '.join(f'{uar:.3f}' for uar in uars)}, mean {np.mean(uars):.3f}"
        for seed, uars in by_seed.items()
    )
    measured = CORPORA[config.measured_on].title
    integers = (
        "The networks measured are in 8-bit integers, as the one beside this file is; their scales are of clips that "
        f"each was trained on. In float32 the same networks have {np.mean(list(chain(*in_float.values()))):.3f} "
        f"instead of {np.mean(list(chain(*by_seed.values()))):.3f}. "
        if in_float
        else ""
    )
    return (
        f"Speaker-independent cross-validation: {len(runs)} networks of this recipe, of the folds "
        f"{', '.join(dict.fromkeys(run.fold for run in runs))} of configs/folds.yaml and the seeds "
        f"{', '.join(map(str, by_seed))}, each measured on speakers that it never heard, calibrated by what the other "
        "folds' networks made of the speakers that they never heard; the last of "
        f"{config.epochs} epochs, no epoch was chosen. {measured}, g711, UAR by fold: {seeds}. The network "
        "beside this file was trained by the same recipe on all of these speakers: it hears more "
        "of them than any that was measured, and no figure here is its own. Its temperature and conformal threshold "
        f"were fitted on what all measured networks made of the {measured} speakers that they never heard. "
        f"{integers}{_how_clips_are_heard(config)}"
    )


def _how_clips_are_heard(config: TrainingConfig) -> str:
    return (
        f"Clips are brought to {config.features.sample_rate_hz} Hz, cut to their speech, sent through the condition "
        "and cut into segments of at most 3 s. clean: nothing; g711: G.711 mu-law; gsm: GSM 06.10; opus: Opus at 12 "
        "kbit/s; noise20, noise10: noise with the spectrum of speech at 20 and 10 dB, then G.711; loss3: 3% of the "
        "packets of 20 ms lost after G.711. 95% intervals: bootstrap over speakers, 2,000 draws."
    )


def _summary(result: Evaluation) -> dict[str, Any]:
    """Return the figures that ``model.yaml`` keeps; the whole of them is one command away."""
    kept = result.to_dict()
    kept["recall"] = {label: figures["recall"] for label, figures in kept.pop("per_class").items()}
    del kept["confusion"], kept["labels"]
    return kept


def _card_values(
    config: TrainingConfig,
    network: EmotionNetwork,
    card: ModelCard,
    evaluations: Sequence[Evaluation],
    protocol: str,
    ancestor: Ancestor | None,
    *,
    int8: bool,
) -> dict[str, str]:
    corpora = "\n".join(
        f"| {CORPORA[name].title} | {CORPORA[name].license} | {CORPORA[name].source} |" for name in card.corpora
    )
    rows = "\n".join(
        f"| {CORPORA[r.corpus].title}, {len(r.speakers)} speakers | {r.condition} | {r.n} | {r.uar:.3f} "
        f"({r.uar_interval[0]:.3f} to {r.uar_interval[1]:.3f}) | {r.accuracy:.3f} | {r.macro_f1:.3f} "
        f"| {r.mood_uar:.3f} | {r.ece:.3f} | {r.conformal_coverage:.2f}, {r.conformal_size:.1f} "
        f"| {r.unchanged:.1%} |"
        for r in evaluations
    )
    shown = next(r for r in evaluations if r.condition == "g711")
    header = "| | " + " | ".join(shown.labels) + " | precision | recall | F1 |"
    lines = [header, "|---" * (len(shown.labels) + 4) + "|"]
    for label, counts in zip(shown.labels, shown.confusion, strict=True):
        figures = shown.per_class[label]
        lines.append(
            f"| **{label}** | {' | '.join(map(str, counts))} "
            f"| {figures.precision:.2f} | {figures.recall:.2f} | {figures.f1:.2f} |"
        )
    teacher = " --teacher MODEL_BIN" if config.teacher else ""
    init = " --init MODEL_FOLDER" if ancestor else ""
    training_options = f"{_corpus_options(config.corpora)} --noise ESC10_FOLDER{teacher}{init}"
    crossvalidated = not any(split.test for split in config.corpora.values())
    return {
        "name": card.name,
        "model_id": card.model_id,
        "license": card.license,
        "commercial_use": "commercial use is allowed, as the corpora below allow it"
        if card.commercial_use
        else "no commercial use, since corpora that they were trained on allow none (see `LICENSE-WEIGHTS`)",
        "labels": ", ".join(card.labels),
        "parameters": f"{sum(parameter.numel() for parameter in network.parameters()):,}",
        "precision": ", computed in 8-bit integers" if int8 else "",
        "export_options": " --int8" if int8 else "",
        "temperature": f"{card.temperature:g}",
        "conformal_threshold": f"{card.conformal_threshold:g}",
        "feature_hash": card.feature_spec.hash,
        "commit": card.training_commit + (f", starting from {ancestor.model_id}" if ancestor else ""),
        "corpora": corpora,
        "languages": ", ".join(card.evaluated_languages),
        "protocol": textwrap.fill(protocol, _CARD_WIDTH),
        "figures": rows,
        "confusion_of": f"{CORPORA[shown.corpus].title}, {shown.condition}, {shown.n} clips",
        "confusion": "\n".join(lines),
        "training_options": training_options,
        "crossvalidate": f"    python -m ser_model crossvalidate --config ser_model/configs/{config.name}.yaml "
        f"--runs RUNS_FOLDER \\\n        {training_options}\n"
        if crossvalidated
        else "",
        "crossvalidation": " --crossvalidation RUNS_FOLDER" if crossvalidated else "",
        "retrain_corpora": _corpus_options(config.corpora),
        "evaluate_corpora": _corpus_options(dict.fromkeys(result.corpus for result in evaluations)),
    }


def _corpus_options(names: Iterable[str]) -> str:
    return " ".join(f"--corpus {name}={name.upper()}_FOLDER" for name in names)
