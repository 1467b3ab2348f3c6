"""``make fuzz MINUTES=60``: gives random bytes to whatever reads what comes from outside, until the time is up.

The minutes are a processor's, so that they say the same on a machine that does other things, too. The properties are
tests of the suite, which runs each on some hundred inputs; hypothesis makes their inputs of bytes here, with no memory
of earlier runs. Each share runs in a process of its own, so that one that ends its process is found, too. Prints a line
a target: inputs tried, and what was found; exits with 1 where that is anything. A finding says with which words it
comes again.

``--guided``, with a target, lets atheris choose the bytes by what code they reach. It is in none of the locks:
``PYTHONPATH=FOLDER python -m tests.fuzz --guided --target keys``, where a ``pip install --target FOLDER atheris`` was.
"""

from __future__ import annotations

import argparse
import random
import resource
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from typing import NoReturn

from jobs.own_process import ProcessDied, in_own_process

TARGETS = {
    "audio": ("test_formats", "test_a_damaged_file_ends_in_a_reason"),
    "tabular files": ("test_tabular", "test_no_bytes_raise_anything_but_our_error"),
    "parquet files": ("test_tabular", "test_no_damage_of_a_parquet_file_raises_anything_but_our_error"),
    "fields": ("test_fields", "test_every_value_is_one_or_is_said_to_be_none"),
    "contact records": ("test_contacts", "test_whatever_a_record_holds_it_is_one_or_none"),
    "keys": ("test_any_input", "test_any_key_is_read_or_is_none"),
    "paths": ("test_any_input", "test_any_path_stays_in_its_location_or_is_refused"),
    "model cards": ("test_any_input", "test_any_card_is_one_or_is_refused"),
    "model.yaml": ("test_any_input", "test_any_text_of_a_card_is_one_or_is_refused"),
    "feature specs": ("test_any_input", "test_any_features_are_refused_unless_they_have_the_hash"),
    "networks": ("test_any_input", "test_any_network_is_loaded_or_is_refused"),
}
"""What is given random input: the module of tests/unit and its property."""

SHARE_S = 20.0
MEMORY_MB = 4096
LONGEST_INPUT = 4096

Property = Callable[[bytes], object]


@dataclass
class Tried:
    """What came of a target: inputs, and seconds of processor time."""

    inputs: int = 0
    seconds: float = 0.0


def load(target: str) -> Property:
    """The property of a target, of bytes."""
    unit = str(Path(__file__).resolve().parent / "unit")
    if unit not in sys.path:
        sys.path.insert(0, unit)
    module, name = TARGETS[target]
    fuzzed: Property = getattr(import_module(module), name).hypothesis.fuzz_one_input
    return fuzzed


def nth_input(seed: int, number: int) -> bytes:
    """The bytes of an input: told by two numbers, so that it comes again."""
    chance = random.Random(f"{seed} {number}")
    return chance.randbytes(chance.randint(1, LONGEST_INPUT))


def share(target: str, seed: int, seconds: float, tried: Tried) -> str | None:
    """Try a target's inputs for a while, in a process of its own; what was found, in words."""
    fuzzed = load(target)
    at = get_context("fork").Value("i", 0, lock=False)

    def work() -> str | None:
        until = time.process_time() + seconds
        while time.process_time() < until:
            try:
                fuzzed(nth_input(seed, at.value))
            except BaseException:
                return traceback.format_exc(limit=-4)
            at.value += 1
        return None

    before = _processor_s()
    try:
        found = in_own_process(work, MEMORY_MB)
    except ProcessDied as died:
        found = f"the process {died}"
    tried.inputs += at.value
    tried.seconds += _processor_s() - before
    again = f"again: python -m tests.fuzz --target {target!r} --seed {seed} --number {at.value}"
    return None if found is None else f"{target}: {found}\n{again}"


def _processor_s() -> float:
    """Seconds of processor time of the processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def guide(target: str, seconds: float) -> NoReturn:
    """Let atheris look for inputs that reach code that none before them did; ends this process.

    What it finds it writes to a file ``crash-...`` in this folder, of bytes for `load`'s property.
    """
    import atheris

    with atheris.instrument_imports(include=["jobs", "ser_model", "schemas"], enable_loader_override=False):
        fuzzed = load(target)

    def try_it(content: bytes) -> None:
        fuzzed(content)

    options = [f"-max_total_time={seconds:.0f}", f"-max_len={LONGEST_INPUT}", f"-rss_limit_mb={MEMORY_MB}"]
    atheris.Setup([sys.argv[0], *options], try_it)
    atheris.Fuzz()
    raise AssertionError("libFuzzer ends the process")


def main(argv: list[str] | None = None) -> int:
    """Fuzz every target in turn, or repeat one input."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("minutes", nargs="?", type=float, default=60.0, help="of a processor; with --guided of a clock")
    parser.add_argument("--target", choices=TARGETS, help="this alone")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--number", type=int, help="one input alone, in this process")
    parser.add_argument("--guided", action="store_true", help="let atheris choose the target's inputs")
    arguments = parser.parse_args(argv)
    if arguments.guided:
        if not arguments.target:
            parser.error("--guided needs a --target")
        guide(arguments.target, 60 * arguments.minutes)
    targets = [arguments.target] if arguments.target else list(TARGETS)
    if arguments.number is not None:
        load(targets[0])(nth_input(arguments.seed, arguments.number))
        return 0
    tried = {target: Tried() for target in targets}
    findings: list[str] = []
    while (left := 60 * arguments.minutes - sum(each.seconds for each in tried.values())) > 0:
        for target in targets:
            seed = random.SystemRandom().randrange(2**31) if arguments.seed is None else arguments.seed
            found = share(target, seed, min(SHARE_S, left / len(targets)), tried[target])
            if found is not None:
                print(found, flush=True)
                findings.append(found)
    for target, each in tried.items():
        print(f"{target}: {each.inputs:,} inputs in {each.seconds:.0f} s of processor time")
    inputs, seconds = (sum(getattr(each, what) for each in tried.values()) for what in ("inputs", "seconds"))
    print(f"{inputs:,} inputs in {seconds:,.0f} s of processor time, {len(findings)} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
