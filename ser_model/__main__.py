"""The command line of ser_model: train, export, evaluate, describe, corpora.

    python -m ser_model corpora
    python -m ser_model train --config ser_model/configs/research.yaml --run RUN --corpus ravdess=FOLDER ...
    python -m ser_model export --run RUN --corpus ravdess=FOLDER ... --model MODEL_FOLDER
    python -m ser_model evaluate --model MODEL_FOLDER --corpus ravdess=FOLDER --condition g711
    python -m ser_model describe MODEL_FOLDER

Training and export need torch; the others do not.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ser_model.corpora import CORPORA, CorpusContents, read_corpus
from ser_model.errors import EvaluationError, SerModelError
from ser_model.taxonomy import EMOTIONS

if TYPE_CHECKING:
    from ser_model.evaluate import Evaluation

TRAINING_MODULES = ("torch", "onnx", "onnxscript")
SHIPPED_MODEL = Path(__file__).parent / "models" / "research"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status."""
    options = _parser().parse_args(arguments)
    try:
        return options.command(options) or 0
    except SerModelError as error:
        print(f"{error.reason_code}: {error}", file=sys.stderr)
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
    train.add_argument("--config", type=Path, required=True, help="a file of ser_model/configs/")
    train.add_argument("--run", type=Path, required=True, help="run folder; a run in it is resumed")
    train.add_argument("--noise", type=Path, help="folder of environmental noise, such as ESC-10")
    # One core makes segments while the others train.
    threads = max(1, (os.cpu_count() or 1) - 1)
    train.add_argument("--threads", type=int, default=threads, help=f"threads of torch (default: {threads})")
    _add_corpora(train)
    train.set_defaults(command=_train)

    export = commands.add_parser("export", help="make a model folder of a run, and measure it")
    export.add_argument("--run", type=Path, required=True, help="run folder")
    export.add_argument("--model", type=Path, required=True, help="model folder to write")
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
    evaluate.add_argument("--speakers", help="speakers, comma-separated (default: the model's test speakers)")
    evaluate.add_argument("--json", type=Path, help="write the figures to this file")
    _add_corpora(evaluate)
    evaluate.set_defaults(command=_evaluate)

    describe = commands.add_parser("describe", help="print what a model is")
    describe.add_argument("model", type=Path, nargs="?", default=SHIPPED_MODEL, help="default: shipped")
    describe.set_defaults(command=_describe)

    verify = commands.add_parser("verify", help="check a model folder against the contract")
    verify.add_argument("model", type=Path, help="model folder")
    verify.set_defaults(command=_verify)

    corpora = commands.add_parser("corpora", help="list the corpora that can be read, or what folders hold")
    corpora.add_argument("--corpus", action="append", default=[], type=_corpus, metavar="NAME=FOLDER")
    corpora.set_defaults(command=_corpora)
    return parser


def _add_corpora(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--corpus",
        action="append",
        required=True,
        type=_corpus,
        metavar="NAME=FOLDER",
        help=f"may be repeated; names: {', '.join(CORPORA)}",
    )


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
        for what in found.unknown:
            print(f"  not understood: {what}")
    return contents


def _train(options: argparse.Namespace) -> None:
    import torch

    from ser_model.train import TrainingConfig, read_noises, split_clips, train

    torch.set_num_threads(options.threads)
    config = TrainingConfig.load(options.config)
    split = split_clips(config, _read_corpora(options))
    noises = read_noises(options.noise, config.features) if options.noise else []
    print(f"{len(split.train)} clips to train on, {len(split.development)} for development", flush=True)
    train(config, split, noises, options.run, lambda line: print(line, flush=True))
    print(f"trained: {options.run}; next: python -m ser_model export --run {options.run} --model FOLDER ...")


def _export(options: argparse.Namespace) -> None:
    from ser_model.classifier import Classifier
    from ser_model.export import export_run

    export_run(options.run, options.model, _read_corpora(options))
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
    from ser_model.classifier import Classifier

    classifier = Classifier.load(options.model)
    print(repr(classifier))
    print(f"  trained on {', '.join(classifier.card.corpora)}; code {classifier.card.training_commit}")


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
