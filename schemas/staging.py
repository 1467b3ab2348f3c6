"""The tables that the steps of one run hand to each other; no analyst sees them.

The other staged tables are the published ones (`schemas.TABLES`), as they will be published.
"""

import pyarrow as pa

from schemas.call_events import TABLE as CALL_EVENTS
from schemas.emotion_log import PROSODY_COLUMNS, SEGMENT_COLUMNS
from schemas.recordings import NOT_DECODED
from schemas.recordings import TABLE as RECORDINGS
from schemas.table import Table, call_date, column, run_id

PLAN_STATUSES = ("planned", "skipped", "quarantined")
CALL_AUDIO_STATUSES = ("decoded", "skipped", "quarantined")

PLAN = Table(
    "plan",
    "A row an object of the day, as plan_recordings found it.",
    [
        *(RECORDINGS.schema.field(name) for name in RECORDINGS.schema.names[: RECORDINGS.schema.names.index("status")]),
        column(
            "channel_roles",
            pa.list_(pa.string()),
            "Whose each channel is by the layout, from the left, the second object's after the first's",
            null_when="its key fits no layout",
        ),
        column("queue", pa.string(), "Queue by the contact record", null_when="no record, or it was in none"),
        column("status", pa.string(), f"What the plan says of it: {', '.join(PLAN_STATUSES)}"),
        column("reason_code", pa.string(), "Why it is skipped or quarantined", null_when="it is planned"),
        column("detail", pa.string(), "What was found, without ids", null_when="there is nothing to say"),
        run_id("The run that planned it"),
    ],
    key=("call_date", "source_uri"),
    sort=("contact_id", "started_at", "source_uri"),
)

SIDECAR_EVENTS = Table(
    "sidecar_events",
    "A row a call event of the day's contacts that a sidecar told; summarize_calls adds those heard in the audio.",
    [CALL_EVENTS.schema.field(name) for name in CALL_EVENTS.schema.names],
    key=CALL_EVENTS.key,
    sort=CALL_EVENTS.sort,
)

SEGMENTS = Table(
    "segments",
    "A row a speech segment, as extract_features found it; those to be classified with their features.",
    [
        *SEGMENT_COLUMNS,
        *PROSODY_COLUMNS,
        column(
            "features",
            pa.binary(),
            "The model's input: quantised log-mel, uint8 [n_frames, n_mels] in C order, or samples, int16 [n_frames]",
            null_when="the segment is not to be classified",
        ),
        column(
            "n_frames",
            pa.int32(),
            "Frames in features; of a waveform, samples",
            null_when="the segment is not to be classified",
        ),
        column("source_uri", pa.string(), "Address of the recording"),
    ],
    key=("call_date", "contact_id", "role", "turn_index", "segment_index"),
    sort=("contact_id", "start_s", "role"),
)

CALL_AUDIO = Table(
    "call_audio",
    "A row a planned recording, as extract_features heard it.",
    [
        call_date(),
        column("contact_id", pa.string(), "The contact"),
        column("source_uri", pa.string(), "Address of the recording"),
        column("status", pa.string(), f"What decoding came to: {', '.join(CALL_AUDIO_STATUSES)}"),
        column("reason_code", pa.string(), "Why it was skipped or quarantined", null_when="it was decoded"),
        column("detail", pa.string(), "What was found, without ids", null_when="there is nothing to say"),
        *(RECORDINGS.schema.field(name) for name in ("channels", "channel_kind", "codec", "sample_rate_hz")),
        *(RECORDINGS.schema.field(name) for name in ("duration_s", "clipped_share", "nonspeech_s")),
        column(
            "pauses",
            pa.list_(pa.struct([pa.field("start_s", pa.float64()), pa.field("end_s", pa.float64())])),
            "Runs of digital silence in every channel at once: pauses of the recording",
            null_when=NOT_DECODED,
        ),
    ],
    key=("call_date", "source_uri"),
    sort=("contact_id", "source_uri"),
)
