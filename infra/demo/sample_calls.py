"""Two dozen sample calls of one day, with contact records and topics: what the demo runs on when given no recordings.

Two synthetic voices tell a topic of `dialogues.yaml` along an arc; the customer's rate, pitch, range and
loudness follow the arc turn by turn. The recordings lie in Amazon Connect's key layout (customer left, agent
right), with a few odd ones among them, as a real night has. Deterministic: the same date and the same code
give the same bytes.

Synthetic voices show the machinery, not the model: what a classifier hears in them says nothing about people.
This module knows nothing of jobs or models.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import shutil
import sys
import tempfile
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import soundfile
import yaml

from infra.demo.errors import DemoError, ForeignFolderError
from infra.demo.voices import RATE_HZ, Delivery, Samples, Speaker, speaker

Role: TypeAlias = Literal["customer", "agent"]

CHANNEL: Mapping[Role, int] = {"customer": 0, "agent": 1}
CONTACTS = "contacts.jsonl"
TOPICS = "topics.jsonl"
TRUTH = "truth.jsonl"
STAMP = ".stamp"
BESIDE = (CONTACTS, TOPICS, TRUTH, STAMP)
"""What lies in the folder beside the recordings."""

_DIALOGUES = Path(__file__).with_name("dialogues.yaml")
_SOURCES = (Path(__file__), Path(__file__).with_name("voices.py"), _DIALOGUES)


# --- How a customer sounds ---


_AGENT = Delivery(rate_wpm=172, pitch=48, pitch_range=50, level_dbfs=-21)
_NEUTRAL = Delivery(rate_wpm=168, pitch=48, pitch_range=45, level_dbfs=-22)
_PLEASED = Delivery(rate_wpm=182, pitch=62, pitch_range=80, level_dbfs=-20)
_ANNOYED = Delivery(rate_wpm=182, pitch=58, pitch_range=62, level_dbfs=-19)
_ANGRY = Delivery(rate_wpm=202, pitch=74, pitch_range=92, level_dbfs=-15.5)
_WORRIED = Delivery(rate_wpm=158, pitch=56, pitch_range=38, level_dbfs=-23)
_DISTRESSED = Delivery(rate_wpm=128, pitch=42, pitch_range=18, level_dbfs=-25)
_FLAT = Delivery(rate_wpm=142, pitch=36, pitch_range=10, level_dbfs=-24.5)

ARCS: Mapping[str, tuple[Delivery, ...]] = {
    "content": (_NEUTRAL, _NEUTRAL, _PLEASED),
    "escalating": (_NEUTRAL, _ANNOYED, _ANGRY, _ANGRY),
    "recovering": (_ANGRY, _ANNOYED, _NEUTRAL, _PLEASED),
    "distressed": (_WORRIED, _DISTRESSED, _DISTRESSED, _WORRIED),
    "flat": (_FLAT, _FLAT),
}
"""What the customer passes through from the first turn to the last, evenly spaced."""


def delivery_at(arc: str, progress: float) -> Delivery:
    """Interpolate the customer's delivery at `progress` (0 first turn, 1 last turn) of an arc."""
    points = ARCS[arc]
    places = np.linspace(0.0, 1.0, len(points))
    values = {
        name: float(np.interp(progress, places, [getattr(point, name) for point in points]))
        for name in Delivery.__dataclass_fields__
    }
    return Delivery(**values)


# --- What is said ---


@dataclass(frozen=True)
class Line:
    """A script's line: who says what and how it joins the line before; or a hold, silent on both sides."""

    role: Role = "agent"
    text: str = ""
    manner: Literal["turn", "interruption", "backchannel"] = "turn"
    hold_s: float = 0.0

    @property
    def topic(self) -> str | None:
        """What the call is about from this line on, where that changes: another system would know it from the words."""
        return next((topic for word, topic in SUBJECTS.items() if f"{{{word}}}" in self.text), None)


SUBJECTS = {"problem": "the problem", "remedy": "a remedy", "refusal": "a refusal"}
"""Words of dialogues.yaml, and what a call is about once they are said."""


@dataclass(frozen=True)
class Agent:
    """An agent: user name, first name, espeak voice, the queue served and the team."""

    username: str
    name: str
    voice: str
    queue: str
    team: str


@dataclass(frozen=True)
class Dialogues:
    """The content of dialogues.yaml."""

    agents: tuple[Agent, ...]
    topics: Mapping[str, Mapping[str, str]]
    greetings: tuple[str, ...]
    scripts: Mapping[str, tuple[tuple[Line, ...], ...]]


@cache
def dialogues() -> Dialogues:
    """Read dialogues.yaml, once."""
    raw = yaml.safe_load(_DIALOGUES.read_text(encoding="utf-8"))
    return Dialogues(
        agents=tuple(Agent(**agent) for agent in raw["agents"]),
        topics=raw["topics"],
        greetings=tuple(raw["greetings"]),
        scripts={
            arc: tuple(tuple(_line(line) for line in script) for script in both) for arc, both in raw["scripts"].items()
        },
    )


def _line(raw: Mapping[str, Any]) -> Line:
    if "hold_s" in raw:
        return Line(hold_s=float(raw["hold_s"]))
    role: Role = "customer" if "customer" in raw else "agent"
    if raw.get("backchannel"):
        return Line(role, raw[role], "backchannel")
    return Line(role, raw[role], "interruption" if raw.get("interrupts") else "turn")


# --- The day's plan ---


class Form(Enum):
    """What kind of object a recording is stored as."""

    MULAW = "two-channel G.711 mu-law WAV"
    PCM16 = "two-channel 16-bit PCM WAV"
    ESCAPED_KEY = "two-channel G.711 mu-law WAV, the colon of its key as %3A"
    MONO = "both sides in one channel, WAV"
    MP3 = "MP3 of two identical channels"
    NO_SPEECH = "two-channel WAV of line noise alone"
    TRUNCATED = "WAV cut half-way, its header claims the whole"
    NOT_AUDIO = "text named .wav"
    MISSING = "named by the contact record, not stored"


@dataclass(frozen=True)
class PlannedCall:
    """One call of the day: when the agent answers (UTC), what it is about, how it goes, how it is stored.

    `transfer` is the number of calls back to the contact that this one continues.
    """

    answered: str
    topic: str
    arc: str
    customer_voice: str
    form: Form = Form.MULAW
    has_record: bool = True
    transfer: int = 0


CALLS: tuple[PlannedCall, ...] = (
    PlannedCall("08:04", "charged_twice", "content", "en-us+f2"),
    PlannedCall("08:21", "internet_drops", "escalating", "en-us+m1"),
    PlannedCall("08:47", "missing_parcel", "recovering", "en-us+f4"),
    PlannedCall("09:02", "locked_out", "distressed", "en+f5", Form.PCM16),
    PlannedCall("09:18", "price_increase", "flat", "en-us+m2"),
    PlannedCall("09:33", "new_router", "content", "en+m1", Form.ESCAPED_KEY),
    PlannedCall("09:51", "damaged_washer", "escalating", "en-us+f1"),
    PlannedCall("10:05", "final_bill", "distressed", "en-us+m4"),
    PlannedCall("10:05", "missed_delivery", "content", "en+f4", Form.MONO),
    PlannedCall("10:28", "charged_twice", "escalating", "en+m2", Form.PCM16),
    PlannedCall("10:32", "charged_twice", "recovering", "en+m2", transfer=1),
    PlannedCall("10:56", "internet_drops", "flat", "en-us+f5"),
    PlannedCall("11:14", "price_increase", "recovering", "en-us+m7"),
    PlannedCall("11:40", "new_router", "flat", "en-us+m8", Form.NO_SPEECH),
    PlannedCall("12:09", "missing_parcel", "content", "en+f2", has_record=False),
    PlannedCall("12:37", "locked_out", "recovering", "en-us+m2", Form.PCM16),
    PlannedCall("13:03", "damaged_washer", "distressed", "en-us+f2"),
    PlannedCall("13:26", "final_bill", "content", "en+m4", Form.MP3),
    PlannedCall("13:58", "missed_delivery", "escalating", "en-us+m1"),
    PlannedCall("14:31", "internet_drops", "content", "en+f1", Form.TRUNCATED),
    PlannedCall("15:07", "price_increase", "content", "en-us+f4", Form.PCM16),
    PlannedCall("15:44", "locked_out", "flat", "en-us+m4", Form.NOT_AUDIO),
    PlannedCall("16:20", "missing_parcel", "flat", "en-us+m7"),
    PlannedCall("16:52", "new_router", "escalating", "en+f5"),
    PlannedCall("17:15", "missed_delivery", "distressed", "en-us+f1", Form.MISSING),
)
"""24 objects and one that is missing. Two calls begin in one minute, one continues the call before it."""

_ABANDONED_AT = "11:02"
_DUPLICATED = 6  # the contact whose record is delivered a second time, late and out of date


# --- Composing a call ---


@dataclass(frozen=True)
class Turn:
    """Something said: seconds from the recording's start, and for the customer how it was said."""

    role: Role
    start_s: float
    end_s: float
    manner: str
    text: str
    topic: str | None
    delivery: Delivery | None


@dataclass(frozen=True)
class SpokenCall:
    """A call as heard: samples float32 [n, 2] at 8 kHz (customer, agent), turns, lengths of its holds."""

    samples: Samples
    turns: tuple[Turn, ...]
    holds_s: tuple[float, ...]

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return len(self.samples) / RATE_HZ


def compose(
    lines: Sequence[Line],
    words: Mapping[str, str],
    arc: str,
    voices: Mapping[Role, str],
    speak: Speaker,
    rng: np.random.Generator,
) -> SpokenCall:
    """Speak a script's lines and place them on the two channels."""
    n_customer = sum(line.role == "customer" and line.manner != "backchannel" for line in lines)
    said = 0
    placed: list[tuple[Turn, Samples]] = []
    last_start_s, now_s = 0.0, float(rng.uniform(0.6, 1.2))
    for line in lines:
        if line.hold_s:
            now_s += line.hold_s
            continue
        delivery = _AGENT
        if line.role == "customer":
            delivery = delivery_at(arc, said / (n_customer - 1))
            said += line.manner != "backchannel"
        delivery = replace(
            delivery,
            rate_wpm=delivery.rate_wpm + float(rng.normal(0, 3)),
            pitch=delivery.pitch + float(rng.normal(0, 1.5)),
            level_dbfs=delivery.level_dbfs + float(rng.normal(0, 0.4)),
        )
        text = line.text.format_map(words)
        samples = speak.say(text, voices[line.role], delivery)
        length_s = len(samples) / RATE_HZ
        if line.manner == "backchannel":
            start_s = last_start_s + float(rng.uniform(0.4, 0.7)) * (now_s - last_start_s)
        elif line.manner == "interruption":
            start_s = max(last_start_s + 0.5, now_s - float(rng.uniform(0.6, 1.0)))
        else:
            start_s = now_s + (float(rng.uniform(0.3, 1.2)) if placed else 0.0)
        if line.manner != "backchannel":
            last_start_s, now_s = start_s, start_s + length_s
        placed.append((Turn(line.role, start_s, start_s + length_s, line.manner, text, line.topic, delivery), samples))

    n_samples = round((max(turn.end_s for turn, _ in placed) + float(rng.uniform(0.5, 1.5))) * RATE_HZ)
    call = line_noise(n_samples, rng)
    turns = []
    for turn, samples in placed:
        first = round(turn.start_s * RATE_HZ)
        call[first : first + len(samples), CHANNEL[turn.role]] += samples
        delivery_or_none = turn.delivery if turn.role == "customer" else None
        turns.append(replace(turn, delivery=delivery_or_none))
    return SpokenCall(call, tuple(turns), tuple(line.hold_s for line in lines if line.hold_s))


def line_noise(n_samples: int, rng: np.random.Generator) -> Samples:
    """Faint noise, independent on both channels: float32 [n_samples, 2] at -66 to -58 dBFS."""
    levels = 10 ** (rng.uniform(-66, -58, size=2) / 20)
    return (rng.standard_normal((n_samples, 2)) * levels).astype(np.float32)


# --- Storing ---


@dataclass(frozen=True)
class Call:
    """A call of the day with all that its recording, its record and its truth need."""

    number: int
    planned: PlannedCall
    contact_id: str
    agent: Agent
    answered_at: datetime
    wait_s: int
    after_call_work_s: int
    spoken: SpokenCall

    @property
    def ended_at(self) -> datetime:
        """When the contact was disconnected, to the millisecond."""
        return self.answered_at + timedelta(milliseconds=round(self.spoken.duration_s * 1000))

    @property
    def location(self) -> str:
        """The key that Amazon Connect gives to the recording."""
        suffix = "mp3" if self.planned.form is Form.MP3 else "wav"
        start = self.answered_at
        return f"CallRecordings/{start:%Y/%m/%d}/{self.contact_id}_{start:%Y%m%dT%H:%M}_UTC.{suffix}"

    @property
    def key(self) -> str:
        """The key under which the object lies: the location, or an escaped form of it."""
        return self.location.replace(":", "%3A") if self.planned.form is Form.ESCAPED_KEY else self.location

    @property
    def audible_s(self) -> float:
        """How many seconds can be heard in the object."""
        shares = {Form.NOT_AUDIO: 0.0, Form.NO_SPEECH: 0.0, Form.MISSING: 0.0, Form.TRUNCATED: 0.5}
        return self.spoken.duration_s * shares.get(self.planned.form, 1.0)


def _encoded(samples: Samples, subtype: str, container: str = "WAV") -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, RATE_HZ, subtype=subtype, format=container)
    return buffer.getvalue()


def recording_bytes(call: Call) -> bytes:
    """Encode a call in its form."""
    stereo = call.spoken.samples
    mixed = stereo.mean(axis=1)
    match call.planned.form:
        case Form.PCM16:
            return _encoded(stereo, "PCM_16")
        case Form.MONO:
            return _encoded(mixed, "PCM_16")
        case Form.MP3:
            return _encoded(np.column_stack((mixed, mixed)), "MPEG_LAYER_III", "MP3")
        case Form.NO_SPEECH:
            silent = line_noise(len(stereo), np.random.default_rng(call.number))
            return _encoded(silent, "ULAW")
        case Form.TRUNCATED:
            whole = _encoded(stereo, "ULAW")
            header = len(whole) - stereo.size  # a byte a sample
            return whole[: header + round(call.audible_s * RATE_HZ) * 2]
        case Form.NOT_AUDIO:
            return b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>InternalError</Code></Error>\n'
        case _:
            return _encoded(stereo, "ULAW")


# --- Contact records ---


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _endpoint(number: int) -> dict[str, str]:
    # 555-0100 to 555-0199 are reserved for fiction.
    return {"Address": f"+1206555{100 + number:04d}", "Type": "TELEPHONE_NUMBER"}


def contact_record(call: Call, previous: Call | None, following: Call | None) -> dict[str, Any]:
    """Amazon Connect's record of a call; a transfer joins `previous` and `following` to it."""
    menu_s = 0 if previous else 12
    enqueued_at = call.answered_at - timedelta(seconds=call.wait_s)
    initiated_at = enqueued_at - timedelta(seconds=menu_s)
    holds = call.spoken.holds_s
    ends_by_agent = call.planned.arc == "content"
    return {
        "ContactId": call.contact_id,
        "InitialContactId": previous.contact_id if previous else None,
        "PreviousContactId": previous.contact_id if previous else None,
        "NextContactId": following.contact_id if following else None,
        "Channel": "VOICE",
        "InitiationMethod": "TRANSFER" if previous else "INBOUND",
        "DisconnectReason": "AGENT_DISCONNECT" if ends_by_agent else "CUSTOMER_DISCONNECT",
        "InitiationTimestamp": _iso(initiated_at),
        "DisconnectTimestamp": _iso(call.ended_at),
        "LastUpdateTimestamp": _iso(call.ended_at + timedelta(seconds=call.after_call_work_s + 60)),
        "Queue": {
            "Name": call.agent.queue,
            "EnqueueTimestamp": _iso(enqueued_at),
            "DequeueTimestamp": _iso(call.answered_at),
            "Duration": call.wait_s,
        },
        "Agent": {
            "Username": call.agent.username,
            "ConnectedToAgentTimestamp": _iso(call.answered_at),
            "NumberOfHolds": len(holds),
            "CustomerHoldDuration": round(sum(holds)),
            "LongestHoldDuration": round(max(holds, default=0)),
            "AfterContactWorkDuration": call.after_call_work_s,
            "HierarchyGroups": {"Level1": {"GroupName": call.agent.team}},
        },
        "CustomerEndpoint": _endpoint(previous.number if previous else call.number),
        "Attributes": {},
        "Recordings": [
            {
                "Location": call.location,
                "MediaStreamType": "AUDIO",
                "ParticipantType": "ALL",
                "StartTimestamp": _iso(call.answered_at),
                "Status": "AVAILABLE",
                "StopTimestamp": _iso(call.ended_at),
                "StorageType": "S3",
            }
        ],
    }


def _abandoned_record(call_date: date) -> dict[str, Any]:
    """Record a caller who hung up in the queue: no agent, no recording."""
    enqueued_at = _at(call_date, _ABANDONED_AT)
    ended_at = enqueued_at + timedelta(seconds=187)
    return {
        "ContactId": _contact_id(call_date, "abandoned"),
        "InitialContactId": None,
        "PreviousContactId": None,
        "NextContactId": None,
        "Channel": "VOICE",
        "InitiationMethod": "INBOUND",
        "DisconnectReason": "CUSTOMER_DISCONNECT",
        "InitiationTimestamp": _iso(enqueued_at - timedelta(seconds=12)),
        "DisconnectTimestamp": _iso(ended_at),
        "LastUpdateTimestamp": _iso(ended_at + timedelta(seconds=60)),
        "Queue": {
            "Name": "Billing",
            "EnqueueTimestamp": _iso(enqueued_at),
            "DequeueTimestamp": None,
            "Duration": 187,
        },
        "Agent": None,
        "CustomerEndpoint": _endpoint(len(CALLS)),
        "Attributes": {},
        "Recordings": [],
    }


def contact_records(call_date: date, calls: Sequence[Call]) -> list[dict[str, Any]]:
    """Make the day's records in the order of their delivery, one of them delivered again, older."""
    followers = {call.number - call.planned.transfer: call for call in calls if call.planned.transfer}
    records = {
        call.number: contact_record(
            call,
            previous=calls[call.number - call.planned.transfer] if call.planned.transfer else None,
            following=followers.get(call.number),
        )
        for call in calls
        if call.planned.has_record
    }
    late = dict(records[_DUPLICATED])
    late["LastUpdateTimestamp"] = late["DisconnectTimestamp"]
    late["Agent"] = {**late["Agent"], "AfterContactWorkDuration": 0}  # the agent had not finished then
    return [*records.values(), _abandoned_record(call_date), late]


def topics(call: Call) -> list[dict[str, Any]]:
    """Say what a call is about from when to when: each subject until the next one comes up, the last to the end."""
    begun = [turn for turn in call.spoken.turns if turn.topic is not None and turn.start_s < call.audible_s]
    times = [*(turn.start_s for turn in begun), call.audible_s]
    return [
        {
            "contact_id": call.contact_id,
            "topic": turn.topic,
            "start_s": round(turn.start_s, 3),
            "end_s": round(end_s, 3),
        }
        for turn, end_s in zip(begun, times[1:], strict=True)
    ]


def _truth(call: Call) -> dict[str, Any]:
    turns = []
    for turn in call.spoken.turns:
        if turn.start_s < call.audible_s:
            spoken: dict[str, Any] = {
                "role": turn.role,
                "start_s": round(turn.start_s, 3),
                "end_s": round(min(turn.end_s, call.audible_s), 3),
                "manner": turn.manner,
                "text": turn.text,
            }
            if turn.delivery:
                spoken |= {name: round(value, 1) for name, value in asdict(turn.delivery).items()}
            turns.append(spoken)
    return {
        "contact_id": call.contact_id,
        "key": call.key,
        "form": call.planned.form.name.lower(),
        "arc": call.planned.arc,
        "topic": call.planned.topic,
        "duration_s": round(call.spoken.duration_s, 3),
        "turns": turns,
    }


# --- The folder ---


@dataclass(frozen=True)
class SampleCalls:
    """A folder of sample calls: how many objects are in it, and where its contact records and its topics are."""

    folder: Path
    n_recordings: int
    contacts: Path
    topics: Path


def make_sample_calls(
    folder: Path, call_date: date, on_progress: Callable[[int, int], None] | None = None
) -> SampleCalls:
    """Make the sample calls of a date, unless the folder already holds them.

    The folder appears complete or not at all: it is made beside its place and renamed.

    Parameters
    ----------
    folder
        Where to put them. Sample calls of another date or of older code in it are replaced.
    call_date
        The date (UTC) of every call.
    on_progress
        Called with the number of calls made and of all calls.

    Raises
    ------
    ForeignFolderError
        The folder holds something that was not made here.
    VoicesMissingError
        espeakng-loader is not installed, or does not work.
    """
    n_recordings = sum(planned.form is not Form.MISSING for planned in CALLS)
    made = SampleCalls(folder, n_recordings, folder / CONTACTS, folder / TOPICS)
    stamp = _stamp(call_date)
    if (folder / STAMP).is_file() and (folder / STAMP).read_text(encoding="ascii") == stamp:
        return made
    if folder.exists() and not (folder / STAMP).is_file() and any(folder.iterdir()):
        raise ForeignFolderError(f"{folder} is not empty and holds no sample calls: name another folder, or remove it")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".sample-calls-", dir=folder.parent) as name:
        unfinished = Path(name, "made")
        _write(unfinished, call_date, on_progress)
        (unfinished / STAMP).write_text(stamp, encoding="ascii")
        if folder.exists():
            shutil.rmtree(folder)
        unfinished.rename(folder)
    return made


def _stamp(call_date: date) -> str:
    digest = hashlib.sha256(call_date.isoformat().encode())
    for source in _SOURCES:
        digest.update(source.read_bytes())
    return digest.hexdigest()


def _write(folder: Path, call_date: date, on_progress: Callable[[int, int], None] | None) -> None:
    folder.mkdir()
    calls: list[Call] = []
    with speaker() as speak:
        for number, planned in enumerate(CALLS):
            call = _make_call(number, planned, call_date, calls, speak)
            calls.append(call)
            if planned.form is not Form.MISSING:
                path = folder / call.key
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(recording_bytes(call))
            if on_progress:
                on_progress(number + 1, len(CALLS))
    _write_jsonl(folder / CONTACTS, contact_records(call_date, calls))
    stored = [call for call in calls if call.planned.form is not Form.MISSING]
    _write_jsonl(folder / TOPICS, [row for call in stored for row in topics(call)])
    _write_jsonl(folder / TRUTH, [_truth(call) for call in stored])


def _make_call(number: int, planned: PlannedCall, call_date: date, before: Sequence[Call], speak: Speaker) -> Call:
    book = dialogues()
    topic = book.topics[planned.topic]
    agents = [agent for agent in book.agents if agent.queue == topic["queue"]]
    agent = agents[number % len(agents)]
    rng = np.random.default_rng([call_date.toordinal(), number])
    both = book.scripts[planned.arc]
    # The arc's scripts take turns over the day.
    lines = both[sum(earlier.planned.arc == planned.arc for earlier in before) % len(both)]
    greeting = book.greetings[number % len(book.greetings)]
    words = {**topic, "agent": agent.name, "greeting": greeting.format(agent=agent.name)}
    voices: dict[Role, str] = {"customer": planned.customer_voice, "agent": agent.voice}
    spoken = compose(lines, words, planned.arc, voices, speak, rng)
    answered_at = _at(call_date, planned.answered)
    if planned.transfer:
        wait_s = int((answered_at - before[number - planned.transfer].ended_at).total_seconds())
    else:
        typical_s = 150 if planned.arc in ("escalating", "recovering") else 40
        wait_s = round(typical_s * float(rng.lognormal(0, 0.4)))
    return Call(
        number=number,
        planned=planned,
        contact_id=_contact_id(call_date, str(number)),
        agent=agent,
        answered_at=answered_at,
        wait_s=wait_s,
        after_call_work_s=int(rng.integers(15, 90)),
        spoken=spoken,
    )


def _at(call_date: date, clock: str) -> datetime:
    return datetime.combine(call_date, time.fromisoformat(clock), tzinfo=UTC)


def _contact_id(call_date: date, name: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"callmood:sample-call:{call_date}:{name}"))


def _write_jsonl(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the sample calls from the command line."""
    parser = argparse.ArgumentParser(prog="python -m infra.demo.sample_calls", description=__doc__)
    parser.add_argument("--date", type=date.fromisoformat, required=True, help="YYYY-MM-DD (UTC)")
    parser.add_argument("--out", type=Path, required=True, help="folder to make")
    options = parser.parse_args(arguments)
    try:
        made = make_sample_calls(options.out, options.date)
    except DemoError as error:
        parser.exit(2, f"sample calls: {error}\n")
    sys.stdout.write(f"{made.n_recordings} recordings in {made.folder}, contact records in {made.contacts}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
