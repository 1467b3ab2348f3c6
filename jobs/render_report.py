"""render_report: write the day's report from its published tables, as ``<reports>/<call_date>/nightly.html``.

Run ``python -m jobs.render_report --call-date 2026-11-20 --run-id ID`` after publish_tables. What the page shows is
what the warehouse shows: one view of the tables as the day's last marker has them. How the page looks is
``reporting.report``'s.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from jobs.step import StepContext, step_main
from jobs.storage import open_storage
from jobs.warehouse import Snapshot, Warehouse
from reporting.report import (
    EMOTION_LOG_COLUMNS,
    ModelNote,
    Run,
    calls_to_hear,
    last_run,
    read_calls,
    render_nightly,
)
from schemas import TABLES
from ser_model.classifier import ModelCard
from ser_model.errors import SerModelError

STEP = "render_report"
FILE = "nightly.html"
_TELEPHONE = "g711"

log = logging.getLogger("callmood")


def run(context: StepContext) -> Mapping[str, float]:
    """Write the report; returns the calls that it is of, and its bytes."""
    settings = context.settings
    tables = read_day(Warehouse(open_storage(settings.warehouse, settings)), context.call_date)
    page = render_nightly(
        tables,
        call_date=context.call_date,
        generated_at=datetime.now(UTC),
        time_zone=settings.time_zone,
        model=model_note(context.staging.run_spec().model, last_run(tables["runs"])),
    ).encode()
    reports = open_storage(settings.reports, settings)
    path = f"{context.call_date.isoformat()}/{FILE}"
    reports.write(path, page)
    log.info("the report is at %s", reports.uri(path))
    return {"calls": tables["calls"].num_rows, "bytes": len(page)}


def read_day(warehouse: Warehouse, call_date: date) -> Mapping[str, pa.Table]:
    """Read a day's tables in one view; of emotion_log only the calls and columns that the report shows.

    Raises
    ------
    StorageError
        Where the storage fails, or the day is replaced again and again.
    """

    def read(view: Snapshot) -> Mapping[str, pa.Table]:
        tables = {name: view.dataset(name, call_date).to_table() for name in TABLES if name != "emotion_log"}
        shown = [each.call.contact_id for each in calls_to_hear(read_calls(tables["calls"]))]
        segments = view.dataset("emotion_log", call_date)
        tables["emotion_log"] = segments.to_table(
            columns=list(EMOTION_LOG_COLUMNS), filter=pc.field("contact_id").isin(pa.array(shown, pa.string()))
        )
        return tables

    return warehouse.view(read)


def model_note(folder: str, run: Run | None) -> ModelNote | None:
    """Say what the page says of the run's model; None where its card is not to be had any more.

    An enriched day may have been classified by another model than the one that the settings name now.
    """
    try:
        card = ModelCard.load(Path(folder))
    except SerModelError as error:
        log.warning("the report says nothing of the model's accuracy: %s", error)
        return None
    if run is not None and run.model_id != card.model_id:
        log.warning(
            "the report says nothing of the model's accuracy: the day was classified by %s, and CALLMOOD_MODEL is %s",
            run.model_id,
            card.model_id,
        )
        return None
    return ModelNote(
        labels=card.labels,
        corpora=card.corpora,
        license=card.license,
        commercial_use=card.commercial_use,
        accuracy=accuracy(card.metrics),
        evaluated_languages=card.evaluated_languages,
    )


def accuracy(metrics: Mapping[str, Any]) -> str | None:
    """Say a card's figures through the telephone in sentences; None where it has none."""
    sentences = []
    for result in metrics.get("results", ()):
        if result["condition"] != _TELEPHONE:
            continue
        low, high = result["uar_interval"]
        sentences.append(
            f"Of acted speech of {result['corpus'].upper()} by {len(result['speakers'])} speakers whom it never heard, "
            f"through telephone coding, it recognizes {result['uar']:.0%} of each emotion on average (95% interval "
            f"{low:.0%} to {high:.0%}; guessing gives {1 / len(result['recall']):.0%})."
        )
    return " ".join(sentences) or None


if __name__ == "__main__":
    sys.exit(step_main(STEP, run, __doc__))
