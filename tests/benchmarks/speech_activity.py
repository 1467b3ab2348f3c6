"""Measures speech activity on calls whose turns are known, clean and degraded, and writes the documentation's table.

``python -m tests.benchmarks.speech_activity ../shared/calls/scripted > docs/speech-activity.md`` (two minutes). Every
condition degrades both channels of every call; music and ringing are added where nobody speaks. The measures are of
the customer's channel: missed and agent speech as shares of what was spoken or found there.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

from ser_model.errors import NoSpeech
from ser_model.features import FeatureSpec
from ser_model.recording import SegmentExtractor
from tests.benchmarks import sounds

Samples = npt.NDArray[np.float32]
Degrade = Callable[["Call", np.random.Generator], Samples]

RATE_HZ = 8000
FRAMES_PER_S = 100


@dataclass(frozen=True)
class Call:
    """A two-channel call with its true turns.

    Attributes
    ----------
    samples
        float32 ``[shape=(n, 2)]`` at 8 kHz, customer left.
    turns
        For each role the spans of its speech, seconds.
    """

    samples: Samples
    turns: Mapping[str, Sequence[tuple[float, float]]]

    def spoken(self, role: str) -> npt.NDArray[np.bool_]:
        """Whether the role speaks in each 10 ms, bool ``[shape=(frames,)]``."""
        return _mask(self.turns[role], len(self.samples))

    @property
    def level(self) -> float:
        """Root mean square of the customer's speech."""
        speech = np.repeat(self.spoken("customer"), RATE_HZ // FRAMES_PER_S)
        return float(np.sqrt(np.mean(np.square(self.samples[: len(speech), 0][speech]))))


@dataclass(frozen=True)
class Measured:
    """What was found in a condition, as shares.

    Attributes
    ----------
    missed
        Of the customer's speech, what is in no segment of the customer.
    false
        Of the customer's segments, what is no speech of the customer.
    agent
        Of the customer's segments, what is the agent's speech alone.
    agent_missed, agent_false
        The first two for the agent and the agent's segments.
    """

    missed: float
    false: float
    agent: float
    agent_missed: float
    agent_false: float


def read_calls(folder: Path) -> list[Call]:
    """The calls of a folder with a ``truth.jsonl``: a line a call, with contact_id and turns."""
    turns = {}
    for line in (folder / "truth.jsonl").read_text().splitlines():
        call = json.loads(line)
        turns[call["contact_id"]] = {
            role: [(turn["start_s"], turn["end_s"]) for turn in call["turns"] if turn["role"] == role]
            for role in ("customer", "agent")
        }
    calls = []
    for path in sorted(folder.glob("**/*.wav")):
        samples, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
        assert rate_hz == RATE_HZ
        calls.append(Call(samples, turns[path.name.partition("_")[0]]))
    return calls


def conditions() -> dict[str, Degrade]:
    """The conditions of the table by their names."""
    named: dict[str, Degrade] = {"as recorded": lambda call, _: call.samples}
    for snr_db in (20, 10):
        for kind in ("white", "pink", "babble"):
            named[f"{kind} noise at {snr_db} dB"] = _noisy(kind, snr_db)
    for echo_db in (-15, -20, -30):
        named[f"echo at {echo_db} dB"] = _echoing(echo_db)
    named["white noise at 20 dB, echo at -20 dB"] = _both(_echoing(-20), _noisy("white", 20))
    named["pink noise at 20 dB, echo at -20 dB"] = _both(_echoing(-20), _noisy("pink", 20))
    for level_dbfs in (-50, -45, -35, -10):
        named[f"speech at {level_dbfs} dBFS"] = _at_level(level_dbfs)
    for style in sounds.MUSIC:
        named[f"hold music ({style})"] = _held(style)
    named["ringing, DTMF and beeps"] = _ringing
    return named


def measure(calls: Sequence[Call], degrade: Degrade, extractor: SegmentExtractor) -> Measured:
    """Degrade the calls, find their segments, and compare with their turns."""
    rng = np.random.default_rng(0)
    sums = dict.fromkeys(("spoken", "hit", "found", "false", "agent", "a_spoken", "a_hit", "a_found", "a_false"), 0)
    for call in calls:
        samples = degrade(call, rng)
        n_samples = len(samples)
        found = dict(_segments(samples, extractor))
        spoken, agent_spoken = (_mask(call.turns[role], n_samples) for role in ("customer", "agent"))
        customer = _mask(found["customer"], n_samples)
        agent = _mask(found["agent"], n_samples)
        for name, mask in {
            "spoken": spoken,
            "hit": spoken & customer,
            "found": customer,
            "false": customer & ~spoken,
            "agent": customer & ~spoken & agent_spoken,
            "a_spoken": agent_spoken,
            "a_hit": agent_spoken & agent,
            "a_found": agent,
            "a_false": agent & ~agent_spoken,
        }.items():
            sums[name] += int(mask.sum())
    return Measured(
        missed=1 - sums["hit"] / sums["spoken"],
        false=sums["false"] / max(1, sums["found"]),
        agent=sums["agent"] / max(1, sums["found"]),
        agent_missed=1 - sums["a_hit"] / sums["a_spoken"],
        agent_false=sums["a_false"] / max(1, sums["a_found"]),
    )


def _segments(samples: Samples, extractor: SegmentExtractor) -> Iterator[tuple[str, list[tuple[float, float]]]]:
    file = io.BytesIO()
    # As telephone recorders write: what is louder than full scale is clipped.
    soundfile.write(file, np.clip(samples, -1, 1), RATE_HZ, format="WAV", subtype="ULAW")
    file.seek(0)
    try:
        segments = extractor([file]).segments
    except NoSpeech:
        segments = []
    for role in ("customer", "agent"):
        yield role, [(segment.start_s, segment.end_s) for segment in segments if segment.role == role]


def _mask(spans: Sequence[tuple[float, float]], n_samples: int) -> npt.NDArray[np.bool_]:
    mask = np.zeros(n_samples * FRAMES_PER_S // RATE_HZ, dtype=bool)
    for start_s, end_s in spans:
        mask[round(start_s * FRAMES_PER_S) : round(end_s * FRAMES_PER_S)] = True
    return mask


def _noisy(kind: str, snr_db: float) -> Degrade:
    def degrade(call: Call, rng: np.random.Generator) -> Samples:
        noise = np.stack([sounds.noise(kind, len(call.samples), rng) for _ in range(2)], axis=1)
        return (call.samples + noise * call.level * 10 ** (-snr_db / 20)).astype(np.float32)

    return degrade


def _echoing(echo_db: float) -> Degrade:
    def degrade(call: Call, rng: np.random.Generator) -> Samples:
        delay = int(rng.uniform(0.02, 0.2) * RATE_HZ)
        heard = np.zeros_like(call.samples)
        heard[delay:] = call.samples[:-delay, ::-1] * 10 ** (echo_db / 20)
        return call.samples + heard

    return degrade


def _both(first: Degrade, second: Degrade) -> Degrade:
    return lambda call, rng: second(Call(first(call, rng), call.turns), rng)


def _at_level(level_dbfs: float) -> Degrade:
    return lambda call, _: call.samples * np.float32(10 ** (level_dbfs / 20) / call.level)


def _held(style: str) -> Degrade:
    """Half a minute of music in the agent's channel after the call, and as much in the customer's after that."""

    def degrade(call: Call, rng: np.random.Generator) -> Samples:
        seconds = 30.0
        music = [sounds.MUSIC[style](seconds, rng) * call.level for _ in range(2)]
        return _appended(call, music)

    return degrade


def _ringing(call: Call, rng: np.random.Generator) -> Samples:
    return _appended(call, [sounds.signalling(30.0, rng) * call.level for _ in range(2)])


def _appended(call: Call, in_channels: Sequence[Samples]) -> Samples:
    silence = np.zeros(RATE_HZ, dtype=np.float32)
    left = np.concatenate((call.samples[:, 0], silence, in_channels[0], np.zeros_like(in_channels[1])))
    right = np.concatenate((call.samples[:, 1], silence, np.zeros_like(in_channels[0]), in_channels[1]))
    return np.stack((left, right), axis=1).astype(np.float32)


def table(calls: Sequence[Call], names: Sequence[str] | None = None) -> dict[str, Measured]:
    """Measure the conditions of these names, or all of them."""
    extractor = SegmentExtractor(FeatureSpec(), classify={"customer"})
    return {
        name: measure(calls, degrade, extractor)
        for name, degrade in conditions().items()
        if names is None or name in names
    }


PAGE = """\
# Speech activity, measured

Made by `python -m tests.benchmarks.speech_activity ../shared/calls/scripted > docs/speech-activity.md`; do not edit.

{n_calls} composed telephone calls ({minutes:.0f} minutes, 8 kHz, G.711) whose turns are known, degraded in both
channels, through `SegmentExtractor` as the night runs it. Noise is as far below the customer's speech as the row says;
echo is the other channel 20 to 200 ms later; music and ringing are half a minute in each channel after the call, as
loud as the speech. Sounds are made by `tests/benchmarks/sounds.py`.

- missed: of a side's true speech, the share in none of its segments
- false: of a side's segments, the share that is none of its speech
- agent in customer: of the customer's segments, the share in which the agent alone speaks

| condition | customer missed | customer false | agent in customer | agent missed | agent false |
|---|---|---|---|---|---|
{rows}

A turn's true span is its clip's, with the soft breath at its ends and pauses inside: that is most of what is missed as
recorded. The parameters (`ser_model.speech.SpeechSpec`) were set on these calls; which sounds are voices
(`ser_model.voice`) was not.
"""


def main(folder: str) -> None:
    """Measure the calls of a folder and print the page."""
    calls = read_calls(Path(folder))
    rows = [
        f"| {name} | {found.missed:.1%} | {found.false:.1%} | {found.agent:.1%} | {found.agent_missed:.1%} "
        f"| {found.agent_false:.1%} |"
        for name, found in table(calls).items()
    ]
    minutes = sum(len(call.samples) for call in calls) / RATE_HZ / 60
    print(PAGE.format(n_calls=len(calls), minutes=minutes, rows="\n".join(rows)), end="")


if __name__ == "__main__":
    main(sys.argv[1])
