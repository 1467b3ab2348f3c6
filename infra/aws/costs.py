"""What a night costs, and how long a very large one takes: ``python -m infra.aws.costs > docs/costs.md``.

A model of a few lines over what `make bench` measured (docs/benchmarks/latest.json), list prices, and what is known of
S3 and Spark. It knows nothing of a deployment's discounts, and extrapolates: nothing of it was run in AWS.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
CALL_S = 300.0
"""A call of the model: five minutes."""
MB_A_CALL_HOUR = 115.2
"""Two channels of 16-bit samples at 8 kHz, as Amazon Connect records them."""
SPREAD = ("extract_features", "classify_emotions", "summarize_calls")
"""The steps that Spark spreads over the cores; the others are one process each."""


@dataclass(frozen=True)
class Price:
    """A list price in USD, and the page it is on."""

    what: str
    usd: float
    unit: str
    page: str


# US East (N. Virginia), without discounts. The pages are not read by a program: look before you count on them.
AS_OF = "November 2026"
VCPU = Price("EMR Serverless, x86", 0.052624, "vCPU hour", "https://aws.amazon.com/emr/pricing/")
MEMORY = Price("EMR Serverless, x86", 0.0057785, "GB hour", "https://aws.amazon.com/emr/pricing/")
EC2 = Price("EC2 c7i.4xlarge, 16 vCPU, on demand", 0.714, "hour", "https://aws.amazon.com/ec2/pricing/on-demand/")
GETS = Price("S3 GET", 0.0004, "1,000 requests", "https://aws.amazon.com/s3/pricing/")
PUTS = Price("S3 PUT, COPY, LIST", 0.005, "1,000 requests", "https://aws.amazon.com/s3/pricing/")
LENS = Price("Contact Lens, conversational analytics", 0.015, "minute", "https://aws.amazon.com/connect/pricing/")
TRANSCRIBE = Price("Transcribe, post-call analytics", 0.03, "minute", "https://aws.amazon.com/transcribe/pricing/")
SPEECH = Price(
    "Azure AI Speech, batch",
    0.18,
    "hour",
    "https://azure.microsoft.com/pricing/details/cognitive-services/speech-services/",
)
SENTIMENT = Price(
    "Azure AI Language, sentiment",
    1.0,
    "1,000 records of 1,000 characters",
    "https://azure.microsoft.com/pricing/details/cognitive-services/language-service/",
)
PRICES = (VCPU, MEMORY, EC2, GETS, PUTS, LENS, TRANSCRIBE, SPEECH, SENTIMENT)

EXECUTOR_GB_A_CORE, DRIVER_CORES, DRIVER_GB, FIRST_EXECUTOR_CORES = 3, 2, 5, 4  # infra/spark/emr-serverless.conf
PARTITION_MB: int = Settings.model_fields["partition_mb"].default
EMR_CORES = 64  # infra/aws/callmood.yaml, MaximumCpu
EC2_CORES = 16
CHARACTERS_A_CALL_HOUR = 48_000  # 150 words a minute of five letters and a space, less the silences

# What is assumed of S3 and Spark.
GET_A_S, PUT_A_S = 5_500, 3_500  # a prefix, by AWS's guide to S3's performance
REQUEST_S = 0.03  # a small request's time within a region
TASKS_A_S = 200  # that one driver starts; a task of the jobs' carries its part of the plan
PUBLISHERS = 8  # jobs.warehouse.PARALLEL
GETS_A_FOOTER, REQUESTS_A_COPY, REQUESTS_A_FILE = 2, 2, 3  # a Parquet file's footer; HEAD and COPY; a file in parts


@dataclass(frozen=True)
class Measured:
    """What a core does, from `make bench`: seconds a step takes at all, and for each call hour beyond that."""

    fixed_s: Mapping[str, float]
    hour_s: Mapping[str, float]
    planned_object_s: float
    measured_on: str
    processor: str
    largest_h: float

    @classmethod
    def of(cls, result: Mapping[str, Any]) -> Measured:
        """Fit a line to each step's seconds over the nights on one core."""
        nights: Sequence[Mapping[str, Any]] = result["nights_on_one_core"]
        hours = [night["call_hours"] for night in nights]
        lines = {
            step: statistics.linear_regression(hours, [night["seconds"][step] for night in nights])
            for step in nights[0]["seconds"]
        }
        return cls(
            fixed_s={step: line.intercept for step, line in lines.items()},
            hour_s={step: max(0.0, line.slope) for step, line in lines.items()},
            planned_object_s=result["planning_s"] / result["planned_objects"],
            measured_on=result["measured_on"],
            processor=result["processor"],
            largest_h=max(hours),
        )


@dataclass(frozen=True)
class Night:
    """A night of so many calls."""

    calls: int
    measured: Measured

    @property
    def hours(self) -> float:
        """Its call hours."""
        return self.calls * CALL_S / 3600

    @property
    def core_hours(self) -> float:
        """What Spark's executors compute."""
        return sum(self.measured.hour_s[step] for step in SPREAD) * self.hours / 3600

    @property
    def fixed_hours(self) -> float:
        """How long the Spark steps take before and beside the calls: starting a session, plans, commits."""
        return sum(self.measured.fixed_s[step] for step in SPREAD) / 3600

    def emr_usd(self) -> float:
        """EMR Serverless: the cores with their memory, the driver and a first executor while nothing is spread."""
        core_usd = VCPU.usd + EXECUTOR_GB_A_CORE * MEMORY.usd
        driver_usd = DRIVER_CORES * VCPU.usd + DRIVER_GB * MEMORY.usd
        waiting_usd = (FIRST_EXECUTOR_CORES * core_usd + driver_usd) * self.fixed_hours
        return waiting_usd + (core_usd + driver_usd / EMR_CORES) * self.core_hours

    def ec2_usd(self) -> float:
        """A machine of 16 cores, by the second, for as long as the steps take on it."""
        hours = self.core_hours / EC2_CORES + self.fixed_hours
        return hours * EC2.usd

    def files(self, partition_mb: int) -> int:
        """How many files each staged table of segments has: one a part of the plan."""
        return max(1, -(-round(self.hours * MB_A_CALL_HOUR) // partition_mb))

    def s3_usd(self, partition_mb: int = PARTITION_MB) -> float:
        """Requests: a GET a recording, and of each of three staged files writing, reading and publishing."""
        files = 3 * self.files(partition_mb)
        return (self.calls + 4 * files) / 1000 * GETS.usd + files * (REQUESTS_A_FILE + 1) / 1000 * PUTS.usd

    def others_usd(self) -> dict[str, float]:
        """What others would charge for the same minutes, at the price of the first minute."""
        azure = self.hours * (SPEECH.usd + CHARACTERS_A_CALL_HOUR / 1e6 * SENTIMENT.usd)
        return {
            "Contact Lens": self.hours * 60 * LENS.usd,
            "Transcribe": self.hours * 60 * TRANSCRIBE.usd,
            "Azure": azure,
        }

    def durations_s(self, cores: int, partition_mb: int) -> dict[str, float]:
        """How long each part of the night takes, by its name."""
        measured, files = self.measured, self.files(partition_mb)
        tasks_s = files / TASKS_A_S
        spread = {
            step: measured.fixed_s[step] + max(measured.hour_s[step] * self.hours / cores, tasks_s) for step in SPREAD
        }
        alone = {
            step: measured.fixed_s[step] + measured.hour_s[step] * self.hours
            for step in ("validate_tables", "publish_tables", "render_report")
        }
        return {
            "plan_recordings": measured.fixed_s["plan_recordings"] + measured.planned_object_s * self.calls,
            **spread,
            **alone,
            "publish: files are checked and copied": files * (GETS_A_FOOTER + REQUESTS_A_COPY) * REQUEST_S / PUBLISHERS,
        }

    def loads(self, cores: int, partition_mb: int) -> dict[str, float]:
        """The share of each limit that is taken while recordings are read; over 1: the limit sets the pace."""
        reading_s = self.measured.hour_s["extract_features"] * self.hours / cores
        files = self.files(partition_mb)
        return {
            f"GET of recordings, {GET_A_S:,} a second a prefix": self.calls / reading_s / GET_A_S,
            f"PUT of staged files, {PUT_A_S:,} a second a prefix": 2 * files * REQUESTS_A_FILE / reading_s / PUT_A_S,
            f"tasks started by the driver, {TASKS_A_S} a second": files / reading_s / TASKS_A_S,
        }


def page(measured: Measured) -> str:
    """The page docs/costs.md."""
    sizes = [Night(calls, measured) for calls in (100, 1_000, 10_000, 100_000, 1_000_000)]
    million = sizes[-1]
    return "\n".join(
        [
            _INTRODUCTION.format(measured=measured, call_minutes=CALL_S / 60),
            _table(["step", "s a night at all, one core", "s a call hour beyond that, one core", "spread by Spark"])
            + "".join(
                _row(step, f"{measured.fixed_s[step]:.2f}", f"{measured.hour_s[step]:.4f}", "yes" * (step in SPREAD))
                for step in measured.fixed_s
            ),
            _PRICES.format(as_of=AS_OF),
            _table(["what", "USD", "per", "page"])
            + "".join(_row(p.what, f"{p.usd:g}", p.unit, p.page) for p in PRICES),
            _A_NIGHT.format(partition_mb=PARTITION_MB),
            _table(
                ["calls", "call hours", "core hours", "EMR Serverless", "or EC2", "S3 requests", *million.others_usd()]
            )
            + "".join(_night_row(night) for night in sizes),
            _NOT_COUNTED,
            _MILLION.format(hours=million.hours, core_hours=million.core_hours, largest=measured.largest_h),
            *(_durations(million, partition_mb) for partition_mb in (PARTITION_MB, 1024)),
            _breaks(million),
        ]
    )


def _night_row(night: Night) -> str:
    others = [f"${usd:,.2f}" for usd in night.others_usd().values()]
    ours = [f"${night.emr_usd():,.2f}", f"${night.ec2_usd():,.2f}", f"${night.s3_usd():,.2f}"]
    return _row(f"{night.calls:,}", f"{night.hours:,.0f}", f"{night.core_hours:,.2f}", *ours, *others)


def _durations(night: Night, partition_mb: int) -> str:
    cores = (10, 50, 200)
    columns = {each: night.durations_s(each, partition_mb) for each in cores}
    lines = [f"`CALLMOOD_PARTITION_MB={partition_mb}`, so {night.files(partition_mb):,} parts, in minutes:\n"]
    table = _table(["part of the night", *(f"{each} cores" for each in cores)])
    for name in columns[10]:
        table += _row(name, *(f"{columns[each][name] / 60:,.1f}" for each in cores))
    table += _row("**all**", *(f"**{sum(columns[each].values()) / 60:,.0f}**" for each in cores))
    return "\n".join([*lines, table])


def _breaks(night: Night) -> str:
    lines = _table(["share of a limit that is taken while recordings are read", "10 cores", "50 cores", "200 cores"])
    for partition_mb in (PARTITION_MB, 1024):
        columns = [night.loads(cores, partition_mb) for cores in (10, 50, 200)]
        for name in columns[0]:
            lines += _row(f"{name}; parts of {partition_mb} MB", *(f"{each[name]:.1%}" for each in columns))
    cores = 10 / night.loads(10, PARTITION_MB)[next(iter(night.loads(10, PARTITION_MB)))]
    return f"### Limits\n\n{lines}\n{_FIRST.format(cores=cores, gets=GET_A_S)}"


def _table(names: Sequence[str]) -> str:
    return _row(*names) + _row(*["---"] * len(names)).replace(" ", "")


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |\n"


_INTRODUCTION = """\
# What it costs

Made by `make docs` from `infra/aws/costs.py` and [what was measured](benchmarks/README.md); do not edit. A model:
nothing of it was run in AWS.

## What a core does

Measured by `make bench` on {measured.measured_on} ({measured.processor}), nights of up to {measured.largest_h:.0f} call
hours; a line through them for each step. A core of the benchmark is taken for a vCPU. A call is {call_minutes:.0f}
minutes long; a call hour is an hour of call, both channels.
"""

_PRICES = """\
## Prices

List prices in US East (N. Virginia) as the authors had them in {as_of}; the pages could not be read from where this was
written. **Prices change: look at the pages before you count on them.** Change them in `infra/aws/costs.py`, and `make
docs` writes this page anew.
"""

_A_NIGHT = """\
## A night

- **core hours** = call hours x the seconds a call hour of the three Spark steps / 3,600.
- **EMR Serverless** = core hours x (vCPU + 3 GB), a driver of 2 cores and 5 GB for every 64 of them, and both, with an
  executor of 4 cores, for what the steps take at all.
- **EC2**: one machine of 16 cores, for core hours / 16 and what the steps take at all. At a million calls that is
  hours; several machines cost the same.
- **S3 requests**: a GET a recording; writing, reading and publishing three staged files a part of {partition_mb} MB.
- **Contact Lens, Transcribe, Azure**: the same minutes at the price of the first minute of a month; with volume they
  get cheaper. Azure is batch transcription, and the sentiment of 48,000 characters a call hour.
"""

_NOT_COUNTED = """\
Not counted: the machine that Airflow and the steps beside Spark run on, storage, KMS (a key is $1 a month; bucket keys
keep its requests few), Athena ($5 a TB read), and your own time. The others are services that transcribe and need no
operating; this hears emotion in the voice and transcribes nothing: compare the prices, not the products.
"""

_MILLION = """\
## A million calls a day

{hours:,.0f} call hours, {core_hours:,.1f} core hours. The largest night measured had {largest:.0f} call hours: this
extrapolates more than four thousandfold, and the steps that are one process (`validate_tables`, `publish_tables`,
`render_report`) grew too little there to be told from chance. Read these as orders of magnitude. Assumed beside what
was measured: 30 ms a small request to S3, 200 tasks a second started by Spark's driver, and S3's own limits.
"""

_FIRST = """\
### What breaks first

Up to 50 cores the computing takes most of the night, with 200 what they do not shorten:

1. **The number of parts.** Of each part there are staged files which publishing checks and copies, eight at once.
   `CALLMOOD_PARTITION_MB=1024` has a quarter of them (not tried at that size here).
2. **The steps that are one process.** What `validate_tables` takes a call is too little to be told from chance in a
   small night (two runs of the benchmark differed tenfold). Its memory, and that of the driver, which holds a row a
   recording, were measured for small days only: the next thing to try.
3. **S3's GETs** come last: about {cores:,.0f} cores read the recordings of one prefix at {gets:,} a second.
"""


def main() -> int:
    """Write the page."""
    result = json.loads((ROOT / "docs" / "benchmarks" / "latest.json").read_text(encoding="utf-8"))
    sys.stdout.write(page(Measured.of(result)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
