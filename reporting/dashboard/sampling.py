"""Which segments are to be judged next: random, flagged and uncertain ones, each drawn with a known weight.

Of each kind the segments are drawn without replacement in an order that is as good as random, and the same for
everybody: so two annotators hear the same segments, and can be compared.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import date

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from reporting.dashboard.tables import Filter, Tables
from schemas.labels import SAMPLES

BATCH = 10
"""So many of each kind are drawn at once."""
MIN_SEGMENT_S = 1.0
"""In a shorter segment nobody hears much."""
UNCERTAIN_SHARE = 0.1
"""The segments of which the model is least sure: this share of all."""


@dataclass(frozen=True)
class Drawn:
    """A segment to be judged, and how it was drawn.

    Attributes
    ----------
    sampled_by
        Of `schemas.labels.SAMPLES`.
    weight
        The segments that there were to draw from, by those drawn with it.
    """

    call_date: date
    contact_id: str
    role: str
    start_s: float
    end_s: float
    model_id: str
    model_emotion: str
    model_confidence: float
    sampled_by: str
    weight: float


def draw(tables: Tables, chosen: Filter, labels: pa.Table, annotator: str) -> list[Drawn]:
    """Draw the next segments for an annotator.

    Parameters
    ----------
    tables
        The published tables.
    chosen
        The calls to draw from.
    labels
        The judgements so far: what the annotator has judged is not drawn again as the same kind. As another it is: else
        what is left of that kind were no longer like the whole.
    annotator
        Whom they are for.

    Returns
    -------
    Up to `BATCH` of each kind, the kinds mixed; a segment of several kinds once, as the first one's that drew it. Empty
    where everything is judged.
    """
    where, values = chosen.where("calls")
    own = labels.filter(pc.field("annotator") == annotator).select(["sampled_by", "contact_id", "role", "start_s"])
    query = f"""
        with heard as (
            select log.call_date, log.contact_id, log.role, log.start_s, log.end_s, log.model_id, log.emotion,
                log.confidence
            from emotion_log as log
            semi join (select call_date, contact_id from calls where {where}) as chosen
                on log.call_date = chosen.call_date and log.contact_id = chosen.contact_id
            where log.classified and log.role = 'customer' and log.end_s - log.start_s >= {MIN_SEGMENT_S}
                and log.call_date between ? and ?
        ), least as (
            select quantile_cont(confidence, {UNCERTAIN_SHARE}) as sure from heard
        ), kinds as (
            select 'random' as sampled_by, * from heard
            union all select 'flagged', * from heard where emotion = 'angry'
            union all select 'uncertain', * from heard where confidence <= (select sure from least)
        ), frames as (
            select *, count(*) over (partition by sampled_by) as n_frame from kinds
        )
        select * from frames anti join judged using (sampled_by, contact_id, role, start_s)
        qualify row_number() over (
            partition by sampled_by order by hash(sampled_by, contact_id, role, start_s), contact_id, start_s
        ) <= {BATCH}
        order by hash(contact_id, start_s, sampled_by)
    """  # noqa: S608 - our columns and numbers; what was chosen is a parameter
    found = tables.queue_rows(query, [*values, chosen.first, chosen.last], own)
    n_drawn = found["sampled_by"].value_counts()
    taken: dict[tuple[str, str, float], Drawn] = {}
    for kind in SAMPLES:
        for row in found[found["sampled_by"] == kind].to_dict("records"):
            drawn = Drawn(
                pd.Timestamp(row["call_date"]).date(),
                row["contact_id"],
                row["role"],
                row["start_s"],
                row["end_s"],
                row["model_id"],
                row["emotion"],
                row["confidence"],
                kind,
                row["n_frame"] / n_drawn[kind],
            )
            taken.setdefault((drawn.contact_id, drawn.role, drawn.start_s), drawn)
    mixed = list(taken.values())
    # The same for everybody, and no kind before another: who knows the kind knows something of the model's view.
    random.Random(len(mixed)).shuffle(mixed)  # noqa: S311 - an order, no secret
    return mixed
