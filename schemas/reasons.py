"""Why a recording was not scored: every reason code once, in a plain sentence, with what to do about it.

The table of docs/reason-codes.md is generated from it: ``python -m schemas.reasons > docs/reason-codes.md``. Knows
nothing of how a reason is found: that is said, case by case, in the column detail of ``quarantine``.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

ReasonOutcome = Literal["quarantined", "skipped", "expected"]


@dataclass(frozen=True)
class Reason:
    """A reason code's meaning.

    Attributes
    ----------
    outcome
        Whether the recording is quarantined (it should have been scored), skipped (it is left out on purpose), or
        expected by a contact record and not there.
    why
        A plain sentence.
    remedy
        What to do.
    retried
        Whether it may heal without anybody's doing, so that later nights try it again by themselves.
    """

    outcome: ReasonOutcome
    why: str
    remedy: str
    retried: bool = False


REASONS: Final[Mapping[str, Reason]] = MappingProxyType(
    {
        # The bytes
        "empty": Reason("quarantined", "The file is empty.", "Check the recorder's export; upload it again."),
        "not_audio": Reason(
            "quarantined", "The file is not audio.", "Find out what writes it below the recordings' prefix."
        ),
        "truncated": Reason(
            "quarantined",
            "The file ends before the audio that it announces.",
            "The upload was cut off: upload it again, then rerun.",
        ),
        "unsupported_codec": Reason(
            "quarantined", "Its audio coding is not known.", "Export as WAV (PCM or G.711), FLAC or MP3."
        ),
        "unsupported_channels": Reason(
            "quarantined", "It has more channels than a call has sides.", "Describe the channels in the layout."
        ),
        "unsupported_rate": Reason(
            "quarantined",
            "Its sample rate is out of the range of telephony.",
            "Export at 8 kHz or more, and check the file's header.",
        ),
        "too_short": Reason("quarantined", "It is too short to be a call.", "Nothing to do, unless there are many."),
        "too_long": Reason(
            "quarantined", "It is longer than a call may be.", "Check that the recorder splits its files by call."
        ),
        "no_speech": Reason(
            "quarantined", "Nobody speaks in it.", "Nothing to do, unless there are many: then check the trunk."
        ),
        # The name and the place
        "unknown_layout": Reason(
            "quarantined",
            "Its name fits no known layout.",
            "Add a layout for it (docs/layouts.md), or move it elsewhere.",
        ),
        "incomplete_pair": Reason(
            "quarantined",
            "It is one side of a call, and the other side's file is not there.",
            "Rerun the day when the other has come; if there are many, check the recorder or the layout.",
        ),
        "misplaced": Reason(
            "quarantined",
            "It lies under the prefix of another date than the call's.",
            "Mend the layout's time zone or prefix_days_after (docs/layouts.md), then rerun both days.",
        ),
        "clock_skew": Reason(
            "quarantined",
            "Its times contradict each other: of its name, of the object, of the contact record.",
            "Mend the recorder's clock, or the time zone of layout or records, then rerun; or allow more: "
            "CALLMOOD_CLOCK_SKEW_S.",
        ),
        # The store
        "fetch_failed": Reason(
            "quarantined", "The store did not hand it over, after several tries.", "Rerun the day later.", retried=True
        ),
        "access_denied": Reason(
            "quarantined",
            "The store refuses it.",
            "Give the job's account the right to read it, then rerun.",
            retried=True,
        ),
        "archived": Reason(
            "quarantined",
            "It lies in an archive class of the store.",
            "Restore it in the store, then run the day again.",
            retried=True,
        ),
        "vanished": Reason(
            "quarantined",
            "It was gone when it was to be fetched.",
            "Find out what deletes recordings, and when.",
        ),
        "changed_while_reading": Reason(
            "quarantined",
            "It was written anew while it was read.",
            "Start the night after the uploads; rerun the day.",
            retried=True,
        ),
        # Our own
        "worker_crashed": Reason(
            "quarantined",
            "Whatever process reads it dies, of its decoder or of memory.",
            "Find out what the file is, and report it; keep it away from other tools until then.",
            retried=True,
        ),
        "decode_timeout": Reason(
            "quarantined",
            "Reading it takes longer than any recording may take.",
            "Find out what the file is, and report it; of very long calls, raise CALLMOOD_RECORDING_TIMEOUT_S.",
            retried=True,
        ),
        "read_failed": Reason(
            "quarantined", "It could not be read, for a reason of our own.", "See the step's log, and report it."
        ),
        "model_error": Reason(
            "quarantined", "The model gave no result for it.", "See the log of classify_emotions, and report it."
        ),
        # On purpose
        "opted_out": Reason("skipped", "The customer has opted out: nothing heard in it is kept.", "Nothing to do."),
        "mono_not_separable": Reason(
            "skipped",
            "It is mono: customer and agent cannot be told apart.",
            "Record two channels, a side on each.",
        ),
        "duplicate": Reason(
            "skipped",
            "Another recording of the same contact was taken instead.",
            "Nothing to do, unless that one is quarantined: then take it away, and rerun the day.",
        ),
        "another_part": Reason(
            "skipped",
            "The contact has several recordings, and a larger one was taken; what is said in this one is not counted.",
            "Nothing to do, unless that one is quarantined: then take it away, and rerun the day.",
        ),
        # Not there at all: in no table, but in the report
        "no_recording": Reason(
            "expected",
            "A recording was expected, and none was found.",
            "Check the recorder; late ones count after a rerun.",
        ),
    }
)
"""Every reason code, by its name in the columns reason_code."""

INTRODUCTION = """\
# Reason codes

Generated by `python -m schemas.reasons > docs/reason-codes.md`; do not edit.

Why a recording was not scored: the column `reason_code` of `recordings` and `quarantine`. What was found in the case
at hand stands in `quarantine.detail`. Every run of a day tries all of its recordings again; "tried again" says whether
later nights do so by themselves ([operations](operations.md)).
"""


def render() -> str:
    """Write the page of all reason codes as Markdown."""
    rows = [
        f"| `{code}` | {reason.outcome} | {reason.why} | {reason.remedy} | {'yes' if reason.retried else ''} |"
        for code, reason in REASONS.items()
    ]
    head = ["| code | outcome | why | what to do | tried again |", "|---|---|---|---|---|"]
    return "\n".join([INTRODUCTION, *head, *rows, ""])


if __name__ == "__main__":
    sys.stdout.write(render())
