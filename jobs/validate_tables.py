"""validate_tables: the staged tables have to keep what schemas/expectations.py says, or the night ends here.

Great Expectations judges them; its Data Docs go to ``<reports>/<call_date>/data_docs/``, also where the night passes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from jobs.command import run_command
from jobs.errors import ValidationFailed
from jobs.step import StepContext, step_main
from jobs.storage import open_storage
from schemas import STAGED_TABLES

SHOWN_FAILURES = 5


def run(context: StepContext) -> Mapping[str, float]:
    """Validate the staged tables; returns the counts of rows and tables looked at.

    Raises
    ------
    ValidationFailed
        Names the first expectations that are broken, with the numbers of rows; nothing is published.
    """
    # Here, since importing Great Expectations takes seconds that no other step should pay.
    from schemas.expectations import VALIDATED, needed_columns, validate

    staging = context.staging
    tables = {name: staging.read_table(STAGED_TABLES[name], needed_columns(name)) for name in VALIDATED}
    reports = open_storage(context.settings.reports, context.settings)
    docs = f"{context.call_date.isoformat()}/data_docs"
    with tempfile.TemporaryDirectory() as folder:
        report = validate(tables, Path(folder))
        reports.delete_below(docs)
        for file in sorted(Path(folder).rglob("*")):
            if file.is_file():
                reports.write(f"{docs}/{file.relative_to(folder).as_posix()}", file.read_bytes())
    if not report.success:
        shown = [f"  {failure}" for failure in report.failures[:SHOWN_FAILURES]]
        more = len(report.failures) - len(shown)
        raise ValidationFailed(
            f"{len(report.failures)} expectations are broken; nothing was published:\n"
            + "\n".join([*shown, *([f"  and {more} more"] if more else [])])
            + f"\nData Docs: {reports.uri(docs)}"
        )
    return {"tables": len(tables), "rows": sum(table.num_rows for table in tables.values())}


if __name__ == "__main__":
    run_command(lambda: step_main("validate_tables", run, __doc__))
