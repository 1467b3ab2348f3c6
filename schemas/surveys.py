"""surveys: a row a contact whose customer answered a survey."""

import pyarrow as pa

from schemas.table import TIMESTAMP, Table, call_date, column, run_id

TABLE = Table(
    "surveys",
    "A row a contact whose customer answered a survey. Of several answers the newest.",
    [
        call_date(),
        column("contact_id", pa.string(), "The contact that the survey was about"),
        column("score", pa.float64(), "The customer's score, on the survey's own scale"),
        column("answered_at", TIMESTAMP, "When the customer answered (UTC)", null_when="the survey does not say"),
        run_id(),
    ],
    key=("call_date", "contact_id"),
    sort=("contact_id",),
)
