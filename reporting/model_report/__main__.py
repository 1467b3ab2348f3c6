"""The command line of the report on a model.

    python -m reporting.model_report --runs RUNS --corpora CORPORA [--noise FOLDER] [--recordings FOLDER]

RUNS is what ``python -m ser_model crossvalidate`` wrote. With ``--retrain CONFIG`` the runs that it lacks are trained
first: all of them, where it is empty.
"""

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

# Before numpy is loaded, as in ser_model.__main__.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from ser_model.corpora import CORPORA, CorpusContents, read_corpus
from ser_model.errors import EvaluationError, SerModelError

FOLDS: Final = ("1", "2", "3", "4", "5")
SEEDS: Final = (1, 2, 3)
SHIPPED: Final = Path(__file__).parents[2] / "ser_model" / "models" / "research"
NEEDED: Final = ("torch", "matplotlib", "opensmile", "sklearn", "pyarrow")
_DIGITS: Final = 4


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the report and return the exit status."""
    options = _parser().parse_args(arguments)
    try:
        write_report(options)
    except SerModelError as error:
        print(f"{error.reason_code}: {error}", file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        if error.name not in NEEDED:
            raise
        print(f"no module {error.name}; docs/model.md says what the report needs", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m reporting.model_report", description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=Path, required=True, help="folder of runs FOLD-SEED; keeps what is computed")
    parser.add_argument("--corpora", type=Path, required=True, help="folder of corpora, each in a folder of its name")
    parser.add_argument("--noise", type=Path, help="folder of noise (default: noise with the spectrum of speech)")
    parser.add_argument("--recordings", type=Path, help="folder of calls for the shipped model's false flags")
    parser.add_argument("--shipped", type=Path, default=SHIPPED, help="model that ships (default: research)")
    parser.add_argument("--previous", type=Path, help="model that shipped before, to compare with")
    parser.add_argument("--int8", action="store_true", help="bring the runs to 8-bit integers, as export --int8 does")
    parser.add_argument("--out", type=Path, default=Path("docs/model"), help="default: docs/model")
    parser.add_argument("--retrain", type=Path, metavar="CONFIG", help="train the runs that are missing, by this file")
    parser.add_argument("--teacher", type=Path, help="weights of the teacher, where runs are trained by one")
    parser.add_argument("--folds", nargs="+", default=list(FOLDS), help="default: 1 to 5")
    parser.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS), help="default: 1 2 3")
    return parser


def write_report(options: argparse.Namespace) -> None:
    """Measure, draw and write the report."""
    import torch

    from reporting.model_report.measure import Material, measure, split_runs
    from reporting.model_report.page import page
    from reporting.model_report.pictures import draw_pictures
    from ser_model.classifier import Classifier
    from ser_model.conditions import LINE_RATE_HZ, conditions, read_noises
    from ser_model.export import run_in_int8
    from ser_model.saved_runs import CACHE_FOLDER, Cache, Listener, read_runs, run_splits

    torch.set_num_threads(1)
    seconds: dict[str, float] = {}

    @contextmanager
    def timed(name: str) -> Iterator[None]:
        started = time.monotonic()
        yield
        seconds[name] = time.monotonic() - started
        _print(f"{name}: {seconds[name]:.0f} s")

    corpora = {name: read_corpus(name, options.corpora / name) for name in CORPORA if (options.corpora / name).is_dir()}
    if options.retrain:
        _retrain(options, corpora)
    with timed("reading"):
        found, unfinished = read_runs(options.runs)
        runs, random_runs = split_runs(found)
        if not runs:
            raise EvaluationError(
                f"{options.runs} holds no finished run of the folds {', '.join(FOLDS)} ({len(unfinished)} unfinished, "
                f"{len(found)} others); expected what python -m ser_model crossvalidate writes"
            )
        noises = read_noises(options.noise, LINE_RATE_HZ, "test") if options.noise else []
        known = conditions(noises)
        splits = run_splits([*runs, *random_runs], corpora)
        if options.int8:
            runs, random_runs = ([run_in_int8(run, splits[run.name].train) for run in of] for of in (runs, random_runs))
        material = Material(
            runs=runs,
            random_runs=random_runs,
            unfinished=unfinished,
            n_expected=len(FOLDS) * len(SEEDS),
            splits=splits,
            corpora=corpora,
            conditions=known,
            noise="recorded, of which training heard none" if options.noise else "made, with the spectrum of speech",
            listener=Listener(options.runs, [*runs, *random_runs], splits, known, noises, _print),
            cache=Cache(options.runs / CACHE_FOLDER),
            shipped=Classifier.load(options.shipped),
            previous=Classifier.load(options.previous) if options.previous else None,
            recordings=options.recordings,
        )
    report = measure(material, timed)
    options.out.mkdir(parents=True, exist_ok=True)
    with timed("pictures"):
        draw_pictures(report, options.out)
    report = replace(report, seconds=seconds)
    (options.out / "figures.json").write_text(json.dumps(plain(asdict(report)), indent=1) + "\n", encoding="utf-8")
    (options.out / "README.md").write_text(page(report), encoding="utf-8")
    _print(f"written: {options.out}")


def _retrain(options: argparse.Namespace, corpora: Mapping[str, CorpusContents]) -> None:
    """Train the runs that the folder lacks, the random split's too."""
    from ser_model.conditions import read_noises
    from ser_model.crossvalidation import RANDOM_FOLD, crossvalidate
    from ser_model.teacher import SpeechEncoder, encode_clips
    from ser_model.train import TrainingConfig

    config = TrainingConfig.load(options.retrain)
    rate_hz = config.features.sample_rate_hz
    encode = encode_clips(SpeechEncoder.load(options.teacher), rate_hz) if options.teacher else None
    trained_on = {name: contents for name, contents in corpora.items() if name in config.corpora}
    noises = read_noises(options.noise, rate_hz, "train") if options.noise else []
    for folds, seeds in ((options.folds, options.seeds), ([RANDOM_FOLD], options.seeds[:1])):
        crossvalidate(config, folds, seeds, trained_on, noises, options.runs, _print, encode)


def plain(value: Any) -> Any:
    """Return values as JSON has them: rounded to four digits, null for what is not a number."""
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if isinstance(value, float):
        return round(value, _DIGITS) if math.isfinite(value) else None
    return value


def _print(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
