"""The tables: their schemas, their definitions, their expectations.

``TABLES`` are those that are published, ``STAGED_TABLES`` those and what a run's steps hand to each other;
``LABELS`` is what people add.
"""

from collections.abc import Mapping
from types import MappingProxyType

from schemas import (
    alerts,
    call_events,
    calls,
    contacts,
    emotion_log,
    labels,
    quarantine,
    recordings,
    runs,
    satisfaction_daily,
    surveys,
    topic_emotions,
    topics,
)
from schemas.staging import CALL_AUDIO, PLAN, SEGMENTS, SIDECAR_EVENTS
from schemas.table import Table

TABLES: Mapping[str, Table] = MappingProxyType(
    {
        module.TABLE.name: module.TABLE
        for module in (
            contacts,
            recordings,
            emotion_log,
            calls,
            call_events,
            surveys,
            topics,
            topic_emotions,
            satisfaction_daily,
            alerts,
            quarantine,
            runs,
        )
    }
)

LABELS: Table = labels.TABLE

STAGED_TABLES: Mapping[str, Table] = MappingProxyType(
    {**TABLES, **{table.name: table for table in (PLAN, SIDECAR_EVENTS, SEGMENTS, CALL_AUDIO)}}
)

__all__ = ["LABELS", "STAGED_TABLES", "TABLES", "Table"]
