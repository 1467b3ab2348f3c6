"""alerts: a row a rule that a call, or a queue's day, has met."""

from typing import Literal, get_args

import pyarrow as pa

from schemas.table import TIMESTAMP, Table, call_date, column, run_id

Severity = Literal["note", "ticket", "page"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)
"""How pressing a notification is, the least first: something to know, to look at in the day, to get up for."""
OF_QUEUE = "scope is queue"

TABLE = Table(
    "alerts",
    "A row a rule that a call, or a queue's day, has met (docs/alerts.md). Replaced with the day, and by `make alerts` "
    "alone.",
    [
        call_date(),
        column("rule", pa.string(), "The rule's name"),
        column("severity", pa.string(), f"How pressing the rule calls it: {', '.join(SEVERITIES)}"),
        column("scope", pa.string(), "call: of one call, by calls; queue: of a queue's day, by satisfaction_daily"),
        column("contact_id", pa.string(), "The contact of the call", null_when=OF_QUEUE),
        column("queue", pa.string(), "The queue, or that of the call", null_when="the call's contact has no queue"),
        column("value", pa.float64(), "The figure that met the rule; 1 for what is true or false"),
        column("threshold", pa.float64(), "The figure from which on the rule is met"),
        column(
            "usual",
            pa.float64(),
            "What is usual of the queue: the median of the days before",
            null_when="scope is call",
        ),
        column(
            "expected_precision",
            pa.float64(),
            "How many of such alerts are right by the rules' file, 0 to 1",
            null_when="it was not measured for the model of the calls",
        ),
        column("raised_at", TIMESTAMP, "When the alert was first raised (UTC); stays when the day is published again"),
        run_id(),
    ],
    key=("call_date", "rule", "contact_id", "queue"),
    sort=("rule", "queue", "contact_id"),
)
