"""call_events: a row a hold, transfer or pause of a call, told by a sidecar or heard in the recording."""

import pyarrow as pa

from schemas.table import Table, call_date, column, run_id

KINDS = ("hold", "transfer", "pause")
SOURCES = ("sidecar", "recording")

TABLE = Table(
    "call_events",
    "A row a hold, transfer or pause of a call: told by the telephone system's events (sidecar), or, for pauses, heard "
    "as digital silence in every channel (recording).",
    [
        call_date(),
        column("contact_id", pa.string(), "The contact"),
        column("kind", pa.string(), f"What happened: {', '.join(KINDS)}"),
        column("start_s", pa.float64(), "Its start from the recording's"),
        column("end_s", pa.float64(), "Its end from the recording's start", null_when="it is an instant"),
        column("source", pa.string(), f"How it is known: {' or '.join(SOURCES)}"),
        run_id(),
    ],
    key=("call_date", "contact_id", "kind", "start_s", "source"),
    sort=("contact_id", "start_s", "kind", "source"),
)
