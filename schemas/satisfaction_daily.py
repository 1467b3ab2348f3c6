"""satisfaction_daily: a row a day and scope, as counts and sums, so that weeks and months add up."""

import pyarrow as pa

from schemas import definitions as d
from schemas.table import Table, call_date, column

SCOPES = ("total", "queue", "team", "agent")
NO_INDEX = "calls_indexed is 0"
ONE_CUSTOMER = "its calls with an index are of one customer, or there is none"
NO_CHANGE = "calls_with_mood_change is 0"

TABLE = Table(
    "satisfaction_daily",
    "A row a day and scope: all calls, each queue, each team, and each agent where reporting on agents is on. "
    "A day always has its total, also without calls. Means add up over days with the counts that weigh them.",
    [
        call_date(),
        column("scope", pa.string(), f"What the row is of: {', '.join(SCOPES)}"),
        column("queue", pa.string(), "The queue", null_when="scope is not queue, or the contacts have no queue"),
        column("team", pa.string(), "The team", null_when="scope is not team, or the contacts have no team"),
        column(
            "agent_id",
            pa.string(),
            "The agent by the contact record, or else by the recording's key",
            null_when="scope is not agent, or the contacts have no agent",
        ),
        column(
            "contacts_expected",
            pa.int64(),
            "Contacts that should have a recording: each contact that expects one (contacts.expects_recording) or of "
            "which the plan has one, with or without a record, once; and each recording whose key names no contact. "
            "Contacts whose recordings were skipped as opted_out are not expected",
        ),
        column("calls_scored", pa.int64(), "Calls scored"),
        column("calls_indexed", pa.int64(), "Scored calls with a satisfaction index"),
        column("calls_with_mood_change", pa.int64(), "Scored calls with a mood_change"),
        column("index_sum", pa.float64(), "Sum of satisfaction_index over calls_indexed"),
        column("index_sumsq", pa.float64(), "Sum of its squares"),
        column("index_mean", pa.float64(), "index_sum / calls_indexed", null_when=NO_INDEX),
        column(
            "index_low",
            pa.float64(),
            f"Lower end of the {d.DAILY_CONFIDENCE:.0%} interval of index_mean, as if the customers were drawn from "
            "many like them: Student's t, clustered by contacts.customer_key. What the classifier may be off for all "
            "calls alike is not in it (docs/reporting.md)",
            null_when=ONE_CUSTOMER,
        ),
        column("index_high", pa.float64(), "Upper end of it", null_when=ONE_CUSTOMER),
        column(
            "negative_share",
            pa.float64(),
            "Mean of calls.negative_share over calls_indexed, 0 to 1",
            null_when=NO_INDEX,
        ),
        column(
            "escalated_share",
            pa.float64(),
            "Escalated of calls_with_mood_change, 0 to 1",
            null_when=f"{NO_CHANGE}, or the model does not know anger",
        ),
        column(
            "recovered_share",
            pa.float64(),
            "Recovered of calls_with_mood_change, 0 to 1",
            null_when=NO_CHANGE,
        ),
        column(
            "mood_change_mean",
            pa.float64(),
            "Mean of calls.mood_change over calls_with_mood_change",
            null_when=NO_CHANGE,
        ),
        column(
            "coverage",
            pa.float64(),
            "calls_scored / contacts_expected, 0 to 1",
            null_when="no contact was expected",
        ),
    ],
    key=("call_date", "scope", "queue", "team", "agent_id"),
    sort=("scope", "queue", "team", "agent_id"),
)
