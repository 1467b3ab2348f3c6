"""The table reference, docs/tables.md, generated from the schemas: ``python -m schemas.reference > docs/tables.md``."""

import sys

import pyarrow as pa

from schemas import LABELS, TABLES
from schemas.table import Table

INTRODUCTION = """\
# The tables

Generated from the schemas by `python -m schemas.reference > docs/tables.md`; do not edit.

Parquet (zstd), a folder a table, partitioned by `call_date` (`<warehouse>/<table>/call_date=YYYY-MM-DD/`), with a
Delta log beside it, but for `labels`, which has none. `call_date` stands in the path and not in the files; DuckDB,
pandas, Spark and Athena read it from there. Times are UTC; units stand at the end of the names (`_s` seconds, `_hz`,
`_dbfs`, `_st` semitones). A column without an entry under "null when" is never null. How calls are judged is in
[satisfaction-index.md](satisfaction-index.md) and `schemas/definitions.py`.
"""


def render() -> str:
    """Write the reference of all published tables as Markdown."""
    tables = [*TABLES.values(), LABELS]
    contents = [f"- [{table.name}](#{table.name}): {_first_sentence(table.description)}" for table in tables]
    return "\n".join([INTRODUCTION, *contents, "", *map(_section, tables)])


def _section(table: Table) -> str:
    rows = [
        f"| `{field.name}` | {_type(field.type)} | {_unit(field)} | {_cell(field, b'description')} "
        f"| {_cell(field, b'null_when')} |"
        for field in table.schema
    ]
    return "\n".join(
        [
            f"## {table.name}",
            "",
            table.description,
            "",
            f"Schema version {table.version}. Key: {_names(table.key)}. Sorted by {_names(table.sort)}.",
            "",
            "| column | type | unit | meaning | null when |",
            "|---|---|---|---|---|",
            *rows,
            "",
        ]
    )


def _first_sentence(text: str) -> str:
    return text.split(". ")[0].rstrip(".")


def _names(columns: tuple[str, ...]) -> str:
    return ", ".join(f"`{column}`" for column in columns)


def _type(kind: pa.DataType) -> str:
    if pa.types.is_timestamp(kind):
        return "timestamp (UTC)"
    if pa.types.is_list(kind):
        return f"list of {_type(kind.value_type)}"
    if pa.types.is_map(kind):
        return f"map of {_type(kind.key_type)} to {_type(kind.item_type)}"
    names = {"date32[day]": "date", "float": "float32", "double": "float64", "bool": "boolean"}
    return names.get(str(kind), str(kind))


def _cell(field: pa.Field, key: bytes) -> str:
    text: bytes = (field.metadata or {}).get(key, b"")
    return text.decode().replace("|", "\\|")


def _unit(field: pa.Field) -> str:
    return _cell(field, b"unit")


if __name__ == "__main__":
    sys.stdout.write(render())
