"""The ready queries: a file each in reporting/queries, with its question and how to read the answer in its head.

``python -m reporting.ready > docs/queries.md`` writes their list; ``make sql Q=@name`` runs one (reporting.sql).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

FOLDER = Path(__file__).parent / "queries"
_HEAD = """\
# Ready queries

Generated from the heads of `reporting/queries/*.sql` by `python -m reporting.ready > docs/queries.md`; do not edit.

    make sql Q=@repeat_callers                             a table; OUT=demo for the demo's
    make -s sql Q=@repeat_callers FORMAT=csv > repeat.csv  or FORMAT=json

They are DuckDB's SQL over the views of [the published tables](tables.md), all days of them: copy one and put `WHERE
call_date ...` into it for some. Groups of under 5 calls are left out. Tests run each on a generated month and look for
what was planted in it (`tests/unit/test_queries.py`). Elsewhere than in `make sql`, [give your reader](reading.md) the
same names: DuckDB finds pandas' and Polars' frames by their variables' names, Spark temporary views, Athena tables. In
Spark's and Athena's SQL FILTER (x) is FILTER (WHERE x), and x::int is CAST(x AS int).

"""


class UnknownQuery(LookupError):
    """There is no ready query of that name; the message lists those that there are."""

    def __str__(self) -> str:
        return str(self.args[0])


@dataclass(frozen=True)
class Query:
    """A ready query.

    Attributes
    ----------
    name
        Of its file.
    question
        That it answers.
    reading
        How to read the answer.
    sql
        The whole file.
    """

    name: str
    question: str
    reading: str
    sql: str

    @classmethod
    def load(cls, file: Path) -> Query:
        """Read a file, whose head is comments: ``-- Question: ...``, then ``-- Reading: ...``.

        Raises
        ------
        ValueError
            Where the head is another.
        """
        text = file.read_text(encoding="utf-8")
        head = " ".join(line.removeprefix("--").strip() for line in text.splitlines() if line.startswith("--"))
        question, reading, rest = head.partition(" Reading: ")
        if not question.startswith("Question: ") or not reading or not rest:
            raise ValueError(f"{file.name} begins otherwise than with -- Question: and -- Reading: comments; add them")
        return cls(file.stem, question.removeprefix("Question: "), rest, text)


class _Ready(Mapping[str, Query]):
    """All of them by name, read when first asked for."""

    def __getitem__(self, name: str) -> Query:
        file = FOLDER / f"{name}.sql"
        if file not in FOLDER.glob("*.sql"):
            raise UnknownQuery(f"there is no ready query @{name}; there are {', '.join(self)}")
        return Query.load(file)

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(file.stem for file in FOLDER.glob("*.sql")))

    def __len__(self) -> int:
        return len(list(FOLDER.glob("*.sql")))


READY: Final[Mapping[str, Query]] = _Ready()


def render() -> str:
    """Write the page."""
    rows = [f"| `@{query.name}` | {query.question} | {query.reading} |" for query in READY.values()]
    return _HEAD + "\n".join(["| query | question | how to read the answer |", "|---|---|---|", *rows]) + "\n"


if __name__ == "__main__":
    sys.stdout.write(render())
