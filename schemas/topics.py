"""topics: a row a stretch of a call that was about a topic, as another system told."""

import pyarrow as pa

from schemas.table import Table, call_date, column, run_id

TABLE = Table(
    "topics",
    "A row a stretch of a call that was about a topic, told by another system. Stretches of one topic that overlap or "
    "touch are one.",
    [
        call_date(),
        column("contact_id", pa.string(), "The contact"),
        column("topic", pa.string(), "The topic, as the other system names it"),
        column("start_s", pa.float64(), "Its start from the recording's"),
        column("end_s", pa.float64(), "Its end from the recording's start"),
        run_id(),
    ],
    key=("call_date", "contact_id", "topic", "start_s"),
    sort=("contact_id", "start_s", "topic"),
)
