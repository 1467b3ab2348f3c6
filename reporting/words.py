"""How the report and the demo's summary say things: numbers as people read them, reason codes in plain words.

Knows nothing of tables, pages or terminals.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

NONE: Final = "\N{EN DASH}"
MINUS: Final = "\N{MINUS SIGN}"


@dataclass(frozen=True)
class Outcome:
    """Why a recording was not scored, and what can be done about it."""

    reason: str
    remedy: str


OUTCOMES: Final[Mapping[str, Outcome]] = MappingProxyType(
    {
        "empty": Outcome("The file is empty.", "Check the recorder's export; upload it again."),
        "not_audio": Outcome("The file is not audio.", "Find out what writes it below the recordings' prefix."),
        "unsupported_codec": Outcome("Its audio coding is not known.", "Export as WAV (PCM or G.711), FLAC or MP3."),
        "unsupported_channels": Outcome(
            "It has more channels than a call has sides.", "Describe the channels in the layout."
        ),
        "unsupported_rate": Outcome(
            "Its sample rate is out of the range of telephony.", "Export at 8 kHz or more, and check the file's header."
        ),
        "truncated": Outcome(
            "The file ends before the audio that it announces.", "The upload was cut off: upload it again, then rerun."
        ),
        "too_short": Outcome("It is too short to be a call.", "Nothing to do, unless there are many."),
        "too_long": Outcome("It is longer than a call may be.", "Check that the recorder splits its files by call."),
        "no_speech": Outcome("Nobody speaks in it.", "Nothing to do, unless there are many: then check the trunk."),
        "mono_not_separable": Outcome(
            "It is mono: customer and agent cannot be told apart.", "Record two channels, a side on each."
        ),
        "opted_out": Outcome("The customer has opted out: nothing heard in it is kept.", "Nothing to do."),
        "unknown_layout": Outcome(
            "Its name fits no known layout.", "Add a layout for it (docs/layouts.md), or move it elsewhere."
        ),
        "incomplete_pair": Outcome(
            "It is one side of a call, and the other side's file is not there.",
            "Rerun the day when the other has come; if there are many, check the recorder or the layout.",
        ),
        "misplaced": Outcome(
            "It lies under the prefix of another date than the call's.",
            "Mend the layout's time zone or prefix_days_after (docs/layouts.md), then rerun both days.",
        ),
        "duplicate": Outcome(
            "Another recording of the same contact was taken instead.",
            "Nothing to do, unless that one is quarantined: then take it away, and rerun the day.",
        ),
        "another_part": Outcome(
            "The contact has several recordings, and a larger one was taken; what is said in this one is not counted.",
            "Nothing to do, unless that one is quarantined: then take it away, and rerun the day.",
        ),
        "fetch_failed": Outcome("The store did not hand it over, after several tries.", "Rerun the day later."),
        "archived": Outcome(
            "It lies in an archive class of the store.", "Restore it in the store, then run the day again."
        ),
        "vanished": Outcome("It was gone when it was to be fetched.", "Find out what deletes recordings, and when."),
        "changed_while_reading": Outcome(
            "It was written anew while it was read.", "Start the night after the uploads; rerun the day."
        ),
        "access_denied": Outcome("The store refuses it.", "Give the job's account the right to read it, then rerun."),
        "read_failed": Outcome("It could not be read, for a reason of our own.", "See the step's log, and report it."),
        "model_error": Outcome("The model gave no result for it.", "See the log of classify_emotions, and report it."),
        "no_recording": Outcome(
            "A recording was expected, and none was found.", "Check the recorder; late ones count after a rerun."
        ),
    }
)


def outcome(reason_code: str) -> Outcome:
    """Say a reason code in plain words; of one that has none here, the code itself."""
    says = f"{reason_code.replace('_', ' ').capitalize()}."
    return OUTCOMES.get(reason_code, Outcome(says, "See the column detail of the table quarantine."))


_LANGUAGES: Final = (
    "am Amharic, ar Arabic, bg Bulgarian, bn Bengali, ca Catalan, cs Czech, da Danish, de German, el Greek, en "
    "English, es Spanish, et Estonian, fa Persian, fi Finnish, fr French, gu Gujarati, he Hebrew, hi Hindi, hr "
    "Croatian, hu Hungarian, id Indonesian, it Italian, ja Japanese, kn Kannada, ko Korean, lt Lithuanian, lv "
    "Latvian, ml Malayalam, mr Marathi, ms Malay, nl Dutch, no Norwegian, pa Punjabi, pl Polish, pt Portuguese, "
    "ro Romanian, ru Russian, sk Slovak, sl Slovenian, sr Serbian, sv Swedish, sw Swahili, ta Tamil, te Telugu, "
    "th Thai, tl Tagalog, tr Turkish, uk Ukrainian, ur Urdu, vi Vietnamese, zh Chinese"
)
LANGUAGES: Final[Mapping[str, str]] = MappingProxyType(
    {code: name for code, _, name in (entry.partition(" ") for entry in _LANGUAGES.split(", "))}
)
"""Names of languages that call centers speak much, by their primary subtag of BCP 47."""

NO_LANGUAGE: Final = frozenset({"mis", "mul", "und", "zxx"})
"""Primary subtags that stand for no language in particular."""


def primary_language(tag: str | None) -> str | None:
    """Take the primary subtag out of a language tag (BCP 47, of any case, also with ``_``); None where it says none."""
    found = re.fullmatch(r"([a-z]{2,3})([-_][a-z0-9]+)*", (tag or "").strip().lower())
    return None if found is None or found[1] in NO_LANGUAGE else found[1]


def language(code: str) -> str:
    """Say a language by its primary subtag: with its name, where it is here."""
    return f"{LANGUAGES[code]} ({code})" if code in LANGUAGES else f"language {code}"


def printable(text: str) -> str:
    """Replace what no page or terminal should be given: control characters, line breaks."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def percent(share: float | None) -> str:
    """Say a share, 0 to 1, in percent; only a whole is 100% and only nothing 0%."""
    if share is None:
        return NONE
    if 0 < share < 0.005:
        return "<1%"
    if 0.995 <= share < 1:
        return ">99%"
    return f"{share:.0%}"


def number(value: float | None, digits: int = 0) -> str:
    """Say a number with thousands separated."""
    return NONE if value is None else f"{value:,.{digits}f}".replace("-", MINUS)


def signed(value: float | None) -> str:
    """Say a mood or its change, with its sign and two digits."""
    # Adding 0 makes a rounded -0.0 a 0.0.
    return NONE if value is None else f"{round(value, 2) + 0.0:+.2f}".replace("-", MINUS)


def clock(seconds: float) -> str:
    """Say a time within a call: ``m:ss``, or ``h:mm:ss`` from an hour on."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def duration(seconds: float | None) -> str:
    """Say how long something took."""
    if seconds is None:
        return NONE
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def count(amount: int, one: str, many: str | None = None) -> str:
    """Say an amount with its noun: 1 call, 2 calls."""
    return f"{amount:,} {one if amount == 1 else many or one + 's'}"


def listing(parts: list[str]) -> str:
    """Join parts as a sentence does: a, b and c."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]]) if len(parts) > 1 else "".join(parts)
