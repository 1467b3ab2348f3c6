"""How the report and the demo's summary say things: numbers and languages as people read them.

Knows nothing of tables, pages or terminals.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

NONE: Final = "\N{EN DASH}"
MINUS: Final = "\N{MINUS SIGN}"


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


def signed(value: float | None, digits: int = 2) -> str:
    """Say a mood or a change, with its sign."""
    # Adding 0 makes a rounded -0.0 a 0.0.
    return NONE if value is None else f"{round(value, digits) + 0.0:+.{digits}f}".replace("-", MINUS)


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
