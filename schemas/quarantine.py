"""quarantine: a row a recording that could not be scored, until it is."""

import pyarrow as pa

from schemas.table import TIMESTAMP, Table, call_date, column, run_id

STATUSES = ("open", "released", "given_up")

TABLE = Table(
    "quarantine",
    "A row a recording that could not be scored, with the step and the reason. It never stops the others.",
    [
        call_date(),
        column("contact_id", pa.string(), "The contact that the recording is of", null_when="its key names none"),
        column("source_uri", pa.string(), "Address of the object"),
        column("etag", pa.string(), "The object's ETag, without quotes"),
        column("queue", pa.string(), "Queue by the contact record", null_when="no record, or it was in none"),
        column("stage", pa.string(), "The step at which it failed"),
        column("reason_code", pa.string(), "Why, as a code"),
        column("detail", pa.string(), "What was found, without ids", null_when="there is nothing to add"),
        column("attempts", pa.int32(), "Runs that have tried the object as it is, carried forward from run to run"),
        column("first_seen", TIMESTAMP, "When it first failed (UTC), carried forward"),
        column("last_seen", TIMESTAMP, "When it last failed (UTC)"),
        column(
            "status",
            pa.string(),
            "open: it waits for the day's next run, which later nights start by themselves where the reason may heal; "
            "released: somebody asked for another try, and the next night makes it; given_up: later nights have tried "
            "it often enough, and only who runs the day tries it again",
        ),
        run_id("The run that last failed on it"),
    ],
    key=("call_date", "source_uri"),
    sort=("contact_id", "source_uri"),
)
