"""runs: a row a run, appended last: the marker of a day's publication."""

import pyarrow as pa

from schemas.table import TIMESTAMP, Table, call_date, column

STATUSES = ("published", "published_degraded", "volume_low")

TABLE = Table(
    "runs",
    "A row a run, append-only. The last row of a call date names the versions of the tables that belong together.",
    [
        column("run_id", pa.string(), "UTC start and six random hexadecimal digits; sorts by time"),
        call_date(),
        column(
            "kind",
            pa.string(),
            "night: the day was computed from its recordings; enrichment: records, events and surveys were joined to "
            "the day that was published before, and no audio was read; release: quarantined recordings were put back; "
            "undo: an earlier run's tables were published again; erasure: the day was published without somebody's "
            "rows; alerts: the rules were applied anew",
            null_when="the run is older than enrichments: it was a night",
        ),
        column("model_id", pa.string(), "The model: name, version, start of its hash"),
        column("code_version", pa.string(), "Commit or version of the code"),
        column("planned", pa.int64(), "Recordings of the plan: scored + quarantined + skipped"),
        column("scored", pa.int64(), "Recordings scored"),
        column("quarantined", pa.int64(), "Recordings that could not be scored"),
        column("skipped", pa.int64(), "Recordings left out on purpose, such as an opt-out"),
        column("suppressed", pa.int64(), "Recordings of erased contacts, taken out before the plan was counted"),
        column("ignored", pa.int64(), "Other keys below the listed prefixes that are no recordings"),
        column("audio_hours", pa.float64(), "Call hours of the scored calls (an hour of call, both channels)"),
        column("step_seconds", pa.map_(pa.string(), pa.float64()), "Wall time of each of the run's steps", unit="s"),
        column(
            "coverage",
            pa.float64(),
            "Calls scored / contacts expected, 0 to 1 (satisfaction_daily.contacts_expected of the total)",
            null_when="no contact was expected",
        ),
        column("scored_of_planned", pa.float64(), "scored / planned, 0 to 1", null_when="nothing was planned"),
        column(
            "status",
            pa.string(),
            "published: the day is whole; published_degraded: part of what was expected could not be scored; "
            "volume_low: there were few recordings, or none, for such a day",
        ),
        column(
            "status_detail",
            pa.string(),
            "Why the status is another than published, with the figures",
            null_when="it is published, or the run is older than this column",
        ),
        column("table_versions", pa.map_(pa.string(), pa.int64()), "Delta version of each published table"),
        column("published_at", TIMESTAMP, "When the run was published (UTC)"),
    ],
    key=("run_id",),
    sort=("run_id",),
)
