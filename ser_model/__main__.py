"""The command line of ser_model: corpora, train, export, evaluate, verify, describe, classify.

    python -m ser_model corpora
    python -m ser_model train --config ser_model/configs/research.yaml --run RUN --corpus ravdess=FOLDER ...
    python -m ser_model crossvalidate --config ser_model/configs/research.yaml --runs RUNS --corpus ravdess=FOLDER ...
    python -m ser_model export --run RUN --corpus ravdess=FOLDER ... --model MODEL_FOLDER
    python -m ser_model evaluate --model MODEL_FOLDER --corpus ravdess=FOLDER --condition g711
    python -m ser_model verify MODEL_FOLDER
    python -m ser_model describe MODEL_FOLDER
    python -m ser_model classify call.wav --format csv

Training and export need torch; the others do not.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

# Before numpy is loaded: its matrix products are small here, and threads that wait for each other made the features of
# training five times as slow.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from ser_model.corpora import CORPORA, CorpusContents, read_corpus
from ser_model.errors import EvaluationError, SerModelError
from ser_model.taxonomy import EMOTIONS

if TYPE_CHECKING:
    from ser_model.audio import ChannelRole
    from ser_model.classifier import Classifier
    from ser_model.evaluate import Evaluation
    from ser_model.features import Samples
    from ser_model.recording import SegmentExtractor
    from ser_model.recording_emotions import RecordingEmotions
    from ser_model.teacher import Encode
    from ser_model.train import TrainingConfig

TRAINING_MODULES = ("torch", "onnx", "onnxscript")
LISTED = 20
SHIPPED_MODEL = Path(__file__).parent / "models" / "research"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status."""
    options = _parser().parse_args(arguments)
    try:
        return options.command(options) or 0
    except SerModelError as error:
        print(f"{error.reason_code}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Who reads has read enough: the rest is neither printed nor done, so this is no success.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except ModuleNotFoundError as error:
        if error.name not in TRAINING_MODULES:
            raise
        print(
            f"no module {error.name}; training and export need what the other commands do not: "
            f"python -m pip install {' '.join(TRAINING_MODULES)}",
            file=sys.stderr,
        )
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m ser_model", description="Speech emotion models.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    train = commands.add_parser("train", help="train a network")
    train.add_argument("--run", type=Path, required=True, help="run folder; a run in it is resumed")
    _add_training(train)
    train.set_defaults(command=_train)

    crossvalidate = commands.add_parser("crossvalidate", help="train and measure a configuration on the fixed folds")
    crossvalidate.add_argument("--runs", type=Path, required=True, help="gets a run folder FOLD-SEED each")
    crossvalidate.add_argument(
        "--folds", nargs="+", default=list("12345"), help="of folds.yaml, or random (default: 1 to 5)"
    )
    crossvalidate.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3], help="default: 1 2 3")
    _add_training(crossvalidate)
    crossvalidate.set_defaults(command=_crossvalidate)

    export = commands.add_parser("export", help="make a model folder of a run, and measure it")
    export.add_argument("--run", type=Path, required=True, help="run folder")
    export.add_argument("--model", type=Path, required=True, help="model folder to write")
    export.add_argument(
        "--crossvalidation",
        type=Path,
        metavar="RUNS",
        help="of a run trained on all speakers: the runs of crossvalidate to calibrate it by and take figures from",
    )
    export.add_argument("--int8", action="store_true", help="bring the network to 8-bit integers (docs/model.md)")
    _add_corpora(export)
    export.set_defaults(command=_export)

    evaluate = commands.add_parser("evaluate", help="measure a model")
    evaluate.add_argument("--model", type=Path, default=SHIPPED_MODEL, help="model folder (default: shipped)")
    evaluate.add_argument(
        "--condition", default="g711", help="clean, g711, gsm, opus, noise20, noise10, loss3 or all (default: g711)"
    )
    evaluate.add_argument(
        "--noise",
        type=Path,
        help="folder of recorded noise for noise20 and noise10, such as ESC-10 (default: noise with speech's spectrum)",
    )
    evaluate.add_argument("--speakers", help="speakers, comma-separated (default: those that the model never heard)")
    evaluate.add_argument("--json", type=Path, help="write the figures to this file")
    _add_corpora(evaluate)
    evaluate.set_defaults(command=_evaluate)

    describe = commands.add_parser("describe", help="print what a model is")
    describe.add_argument("model", type=Path, nargs="?", default=SHIPPED_MODEL, help="default: shipped")
    describe.set_defaults(command=_describe)

    classify = commands.add_parser("classify", help="print the segments of recordings and their emotions")
    classify.add_argument("files", type=Path, nargs="+", metavar="FILE", help="recording")
    classify.add_argument("--model", type=Path, default=SHIPPED_MODEL, help="model folder (default: shipped)")
    classify.add_argument(
        "--roles",
        type=_names("customer", "agent", "mixed"),
        default=("customer",),
        help="whose speech is classified, comma-separated (default: customer)",
    )
    classify.add_argument(
        "--channels",
        type=_names("customer", "agent", "mixed", "none"),
        default=("customer", "agent"),
        help="whose each channel is, from the left, comma-separated (default: customer,agent)",
    )
    classify.add_argument("--pair", action="store_true", help="the two files are the two sides of one recording")
    classify.add_argument("--format", choices=("table", "json", "csv"), default="table", help="default: table")
    classify.set_defaults(command=_classify)

    verify = commands.add_parser("verify", help="check a model folder against the contract")
    verify.add_argument("model", type=Path, help="model folder")
    verify.set_defaults(command=_verify)

    corpora = commands.add_parser("corpora", help="list the corpora that can be read, or what folders hold")
    corpora.add_argument("--corpus", action="append", default=[], type=_corpus, metavar="NAME=FOLDER")
    corpora.set_defaults(command=_corpora)
    return parser


def _add_training(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, required=True, help="a file of ser_model/configs/")
    parser.add_argument("--noise", type=Path, help="folder of environmental noise, such as ESC-10")
    parser.add_argument(
        "--teacher",
        type=Path,
        help="weights of the teacher, for a configuration with one: model.bin of Whisper tiny.en (docs/model.md)",
    )
    parser.add_argument(
        "--init", type=Path, metavar="MODEL", help="model folder to start from, instead of from nothing"
    )
    # One core makes segments while the others train.
    threads = max(1, (os.cpu_count() or 1) - 1)
    parser.add_argument("--threads", type=_positive, default=threads, help=f"threads of torch (default: {threads})")
    _add_corpora(parser)


def _add_corpora(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--corpus",
        action="append",
        required=True,
        type=_corpus,
        metavar="NAME=FOLDER",
        help=f"may be repeated; names: {', '.join(CORPORA)}",
    )


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r}; expected a whole number from 1 on")
    return int(text)


def _names(*known: str) -> Callable[[str], tuple[str, ...]]:
    """Return what reads names separated by commas."""

    def read(text: str) -> tuple[str, ...]:
        names = tuple(name.strip() for name in text.split(","))
        if unknown := [name for name in names if name not in known]:
            raise argparse.ArgumentTypeError(f"{unknown[0]!r}; expected some of {', '.join(known)}, comma-separated")
        return names

    return read


def _corpus(text: str) -> tuple[str, Path]:
    name, separator, folder = text.partition("=")
    if not separator or name not in CORPORA:
        raise argparse.ArgumentTypeError(f"{text!r}; expected NAME=FOLDER with a name of {', '.join(sorted(CORPORA))}")
    return name, Path(folder)


def _read_corpora(options: argparse.Namespace) -> dict[str, CorpusContents]:
    contents = {}
    for name, folder in options.corpus:
        contents[name] = read_corpus(name, folder)
        found = contents[name]
        print(
            f"{name}: {len(found.clips)} clips of {len({clip.speaker for clip in found.clips})} speakers"
            f"; {len(found.duplicates)} duplicates dropped, {len(found.unknown)} not understood",
            flush=True,
        )
        for what in found.unknown[:LISTED]:
            print(f"  not understood: {what}")
        if len(found.unknown) > LISTED:
            print(f"  and {len(found.unknown) - LISTED} more")
    return contents


def _training(
    options: argparse.Namespace,
) -> "tuple[TrainingConfig, dict[str, CorpusContents], list[Samples], Encode | None]":
    """What training works on: the configuration, the corpora, the noise and the teacher's view of clips."""
    import torch

    from ser_model.conditions import read_noises
    from ser_model.teacher import SpeechEncoder, encode_clips
    from ser_model.train import TrainingConfig

    torch.set_num_threads(options.threads)
    config = TrainingConfig.load(options.config)
    rate_hz = config.features.sample_rate_hz
    encode = encode_clips(SpeechEncoder.load(options.teacher), rate_hz) if options.teacher else None
    noises = read_noises(options.noise, rate_hz, "train") if options.noise else []
    return config, _read_corpora(options), noises, encode


def _say(line: str) -> None:
    print(line, flush=True)


def _train(options: argparse.Namespace) -> None:
    from ser_model.train import split_clips, train

    config, corpora, noises, encode = _training(options)
    split = split_clips(config, corpora)
    print(f"{len(split.train)} clips to train on, {len(split.development)} for development", flush=True)
    train(config, split, noises, options.run, _say, encode, options.init)
    print(f"trained: {options.run}; next: python -m ser_model export --run {options.run} --model FOLDER ...")


def _crossvalidate(options: argparse.Namespace) -> None:
    from ser_model.crossvalidation import crossvalidate

    config, corpora, noises, encode = _training(options)
    crossvalidate(config, options.folds, options.seeds, corpora, noises, options.runs, _say, encode, options.init)


def _export(options: argparse.Namespace) -> None:
    from ser_model.classifier import Classifier
    from ser_model.export import export_run

    export_run(options.run, options.model, _read_corpora(options), options.crossvalidation, int8=options.int8)
    print(repr(Classifier.load(options.model)))


def _evaluate(options: argparse.Namespace) -> None:
    from ser_model.classifier import Classifier
    from ser_model.conditions import LINE_RATE_HZ, conditions, read_noises
    from ser_model.evaluate import evaluate, unheard_clips

    classifier = Classifier.load(options.model)
    known = conditions(read_noises(options.noise, LINE_RATE_HZ, "test") if options.noise else ())
    chosen = list(known) if options.condition == "all" else [options.condition]
    results = []
    for name, contents in _read_corpora(options).items():
        if options.speakers:
            wanted = set(options.speakers.split(","))
            clips = tuple(clip for clip in contents.clips if clip.speaker in wanted)
            if not clips:
                raise EvaluationError(f"{name} has no speakers {sorted(wanted)}")
        else:
            clips = unheard_clips(classifier.card, name, contents.clips)
        for condition in chosen:
            result = evaluate(classifier, clips, condition, known)
            noise = (
                {"noise": options.noise.name if options.noise else "speech-shaped"}
                if condition.startswith("noise")
                else {}
            )
            results.append({**result.to_dict(), "model": classifier.card.model_id, **noise})
            _print_evaluation(result)
    if options.json:
        # One corpus under one condition, the usual case, is the object itself.
        text = json.dumps(results[0] if len(results) == 1 else results, indent=2)
        options.json.write_text(text + "\n", encoding="utf-8")


def _print_evaluation(result: "Evaluation") -> None:
    low, high = result.uar_interval
    print(
        f"{result.corpus}, {result.condition}: UAR {result.uar:.3f} (95% {low:.3f} to {high:.3f}), "
        f"accuracy {result.accuracy:.3f}, macro F1 {result.macro_f1:.3f}, mood UAR {result.mood_uar:.3f}, "
        f"ECE {result.ece:.3f}, as clean {result.unchanged:.3f}, {result.n} clips of {len(result.speakers)} speakers"
    )
    for label in result.labels:
        figures = result.per_class[label]
        print(
            f"  {label:<10} precision {figures.precision:.2f}  recall {figures.recall:.2f}"
            f"  F1 {figures.f1:.2f}  n {figures.n}"
        )


def _describe(options: argparse.Namespace) -> None:
    from ser_model.describe import describe

    for line in describe(options.model):
        print(line)


def _classify(options: argparse.Namespace) -> int:
    from ser_model.classifier import Classifier
    from ser_model.recording import SegmentExtractor
    from ser_model.recording_emotions import csv_header, csv_rows, table_lines

    classifier = Classifier.load(options.model)
    extractor = SegmentExtractor(classifier.card.feature_spec, options.roles)
    if options.pair and len(options.files) != 2:
        raise EvaluationError(f"--pair with {len(options.files)} files; expected two, one a side")
    recordings = [options.files] if options.pair else [[path] for path in options.files]
    results = _classified(recordings, options.channels, extractor, classifier)
    done = 0
    if options.format == "csv":
        print(csv_header(classifier.card))
    for done, result in enumerate(results, start=1):
        if options.format == "json":
            print("[" if done == 1 else ",", json.dumps(result.to_dict(), indent=2), sep="\n", flush=True)
        else:
            for line in csv_rows(result) if options.format == "csv" else table_lines(result):
                print(line)
    if options.format == "json":
        print("]" if done else "[]")
    return 0 if done == len(recordings) else 1


def _classified(
    recordings: Sequence[Sequence[Path]],
    channels: Sequence["ChannelRole"],
    extractor: "SegmentExtractor",
    classifier: "Classifier",
) -> "Iterator[RecordingEmotions]":
    """Classify recordings; of one that cannot be, the reason is printed and the others go on."""
    from ser_model.recording_emotions import classify_recording

    for paths in recordings:
        name = " + ".join(map(str, paths))
        try:
            with ExitStack() as opened:
                files = [opened.enter_context(path.open("rb")) for path in paths]
                yield classify_recording(name, files, channels, extractor, classifier)
        except SerModelError as error:
            print(f"{name}: {error.reason_code}: {error}", file=sys.stderr)
        except OSError as error:
            print(f"{name}: not_readable: {error.strerror}; expected a recording there", file=sys.stderr)
        except Exception as error:  # whatever one recording holds, the others go on
            print(f"{name}: read_failed: reading it failed unexpectedly ({type(error).__name__})", file=sys.stderr)


def _verify(options: argparse.Namespace) -> int:
    from ser_model.verify import verify

    checks = verify(options.model)
    for check in checks:
        print(f"{check.status:<9}  {check.name:<11}  {check.found}")
    failed = sum(check.status == "failed" for check in checks)
    print(f"{options.model} " + (f"fails {failed} of {len(checks)} checks" if failed else "keeps the contract"))
    return 1 if failed else 0


def _corpora(options: argparse.Namespace) -> None:
    if options.corpus:
        _read_corpora(options)
        return
    for corpus in CORPORA.values():
        use = "commercial use allowed" if corpus.commercial_use else "no commercial use"
        print(f"{corpus.name:<8} {corpus.title}; language {corpus.language}")
        print(f"         {', '.join(emotion for emotion in EMOTIONS if emotion in corpus.emotions)}")
        print(f"         licence: {corpus.license} ({use})")
        print(f"         {corpus.source}")


if __name__ == "__main__":
    sys.exit(main())
