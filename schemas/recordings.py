"""recordings: a row an object that holds a recording, and what became of it."""

import pyarrow as pa

from schemas.table import TIMESTAMP, Table, call_date, column, run_id

STATUSES = ("scored", "quarantined", "skipped")
CHANNEL_KINDS = ("two_channel", "identical", "mono")
ONE_OBJECT = "the recording is one object"
NOT_DECODED = "the recording was not decoded"

TABLE = Table(
    "recordings",
    "A row a recording of the day's plan, with its outcome: planned = scored + quarantined + skipped.",
    [
        call_date(),
        column("contact_id", pa.string(), "The contact that the recording is of", null_when="its key names none"),
        column("source_uri", pa.string(), "Address of the object"),
        column("etag", pa.string(), "The object's ETag, without quotes"),
        column(
            "partner_uri",
            pa.string(),
            "Address of the second object, of recordings that are two files, one a side",
            null_when=ONE_OBJECT,
        ),
        column("partner_etag", pa.string(), "The second object's ETag, without quotes", null_when=ONE_OBJECT),
        column("size_bytes", pa.int64(), "Size of the object, of two their sum"),
        column("last_modified", TIMESTAMP, "When the object was last written (UTC)"),
        column("layout", pa.string(), "Layout that its key was read by", null_when="its key fits none"),
        column("started_at", TIMESTAMP, "Start of the call by the layout (UTC)", null_when="its key does not say"),
        column(
            "agent_id",
            pa.string(),
            "The agent whom the key names, as in contacts",
            null_when="the key names none",
        ),
        column("status", pa.string(), f"The recording's outcome: {', '.join(STATUSES)}"),
        column("reason_code", pa.string(), "Why it was quarantined or skipped", null_when="it was scored"),
        column("channels", pa.int32(), "Channels of the file", null_when=NOT_DECODED),
        column(
            "channel_kind",
            pa.string(),
            "two_channel: a speaker a channel; identical: channels that are one; mono: one channel",
            null_when=NOT_DECODED,
        ),
        column("codec", pa.string(), "Container and coding, such as WAV/ULAW", null_when=NOT_DECODED),
        column("sample_rate_hz", pa.int32(), "Sample rate of the file", null_when=NOT_DECODED),
        column("duration_s", pa.float64(), "Length of the recording", null_when=NOT_DECODED),
        column("clipped_share", pa.float32(), "Share of the samples at full scale, 0 to 1", null_when=NOT_DECODED),
        column(
            "nonspeech_s",
            pa.float32(),
            "Sound that is no speech: music, tones, noise; summed over the channels",
            null_when=NOT_DECODED,
        ),
        run_id(),
    ],
    key=("call_date", "source_uri"),
    sort=("contact_id", "started_at", "source_uri"),
)
