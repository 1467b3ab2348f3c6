"""contacts: a row a contact record, with or without a recording."""

import pyarrow as pa

from schemas.table import TIMESTAMP, Table, call_date, column, run_id

NOT_RECORDED = "the record does not say"

TABLE = Table(
    "contacts",
    "A row a contact record, with or without a recording. Of records delivered more than once, the newest.",
    [
        call_date(),
        column("contact_id", pa.string(), "The contact's id in the telephone system"),
        column(
            "initial_contact_id",
            pa.string(),
            "First contact of the chain that this one belongs to (transfers)",
            null_when=NOT_RECORDED,
        ),
        column(
            "previous_contact_id",
            pa.string(),
            "Contact that this one continues",
            null_when="it continues none, or the record does not say",
        ),
        column(
            "next_contact_id",
            pa.string(),
            "Contact that continues this one",
            null_when="none continues it, or the record does not say",
        ),
        column(
            "customer_key",
            pa.string(),
            "Keyed hash (HMAC-SHA256) of the customer's endpoint or id: the same one has the same key",
            null_when="the record has none, or it is withheld",
        ),
        column("queue", pa.string(), "Name of the queue that the contact waited in", null_when="it was in none"),
        column("team", pa.string(), "Team of the agent", null_when=NOT_RECORDED),
        column("site", pa.string(), "Site or instance that took the contact", null_when=NOT_RECORDED),
        column(
            "agent_id",
            pa.string(),
            "Keyed hash (HMAC-SHA256) of the agent's user name, or the name itself where the settings say so",
            null_when="no agent took the contact",
        ),
        column("channel", pa.string(), "Kind of contact, such as VOICE", null_when=NOT_RECORDED),
        column("initiation_method", pa.string(), "How it began, such as INBOUND", null_when=NOT_RECORDED),
        column("disconnect_reason", pa.string(), "How it ended", null_when=NOT_RECORDED),
        column("language", pa.string(), "Language code of the contact", null_when=NOT_RECORDED),
        column("started_at", TIMESTAMP, "When the contact was initiated (UTC)"),
        column("answered_at", TIMESTAMP, "When an agent was connected (UTC)", null_when="no agent was"),
        column("ended_at", TIMESTAMP, "When the contact was disconnected (UTC)", null_when=NOT_RECORDED),
        column("local_hour", pa.int32(), "Hour of the start in the configured time zone, 0 to 23"),
        column("queue_wait_s", pa.float32(), "Time in the queue", null_when="it was in none"),
        column("hold_count", pa.int32(), "How often the customer was put on hold", null_when=NOT_RECORDED),
        column("hold_s", pa.float32(), "Time on hold, in total", null_when=NOT_RECORDED),
        column("longest_hold_s", pa.float32(), "The longest hold", null_when=NOT_RECORDED),
        column(
            "after_call_work_s",
            pa.float32(),
            "The agent's work after the call",
            null_when="no agent took the contact, or the record does not say",
        ),
        column(
            "expects_recording",
            pa.bool_(),
            "Whether a recording should exist: a voice contact whose record names one, or that reached an agent",
        ),
        column(
            "attributes",
            pa.map_(pa.string(), pa.string()),
            "The contact attributes that the settings allow; empty by default",
        ),
        column(
            "record_updated_at",
            TIMESTAMP,
            "When the telephone system last changed the record",
            null_when=NOT_RECORDED,
        ),
        run_id(),
    ],
    key=("call_date", "contact_id"),
    sort=("contact_id", "started_at"),
)
