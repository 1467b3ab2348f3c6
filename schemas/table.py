"""What a table is: its Arrow schema with a description of every column, its key, its order, its version.

Pure declarations over pyarrow. Knows nothing of where tables lie, who writes them or how they are computed.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa

from schemas.errors import TableSchemaError

PARTITION_COLUMN = "call_date"

TIMESTAMP = pa.timestamp("us", tz="UTC")

_UNIT_OF_SUFFIX = {
    "_s": "s",
    "_hz": "Hz",
    "_dbfs": "dBFS",
    "_st": "semitones",
    "_bytes": "bytes",
    "_hours": "h",
}


def column(
    name: str, kind: pa.DataType, description: str, *, null_when: str | None = None, unit: str | None = None
) -> pa.Field:
    """Declare a column.

    Parameters
    ----------
    name
        In snake_case, with its unit at the end where it has one.
    kind
        Its Arrow type.
    description
        A sentence for the analyst.
    null_when
        When a row has no value; a column without it is never null.
    unit
        Its unit; by default the one that the name's ending says.
    """
    metadata = {"description": description}
    unit = unit or next((unit for suffix, unit in _UNIT_OF_SUFFIX.items() if name.endswith(suffix)), None)
    if unit is not None:
        metadata["unit"] = unit
    if null_when is not None:
        metadata["null_when"] = null_when
    return pa.field(name, kind, nullable=null_when is not None, metadata=metadata)


def call_date() -> pa.Field:
    """Declare the column by which every table is partitioned."""
    return column(
        PARTITION_COLUMN,
        pa.date32(),
        "Local calendar date on which the call started, in the configured time zone; the partition",
    )


def run_id(description: str = "The run that computed the row") -> pa.Field:
    """Declare the column that says which run a row is of."""
    return column("run_id", pa.string(), description)


@dataclass(frozen=True, init=False)
class Table:
    """A table of the project.

    Parameters
    ----------
    name
        Its folder's name.
    columns
        Its columns in order, made by `column`.
    key
        The columns that identify a row.
    sort
        The columns by which the rows of a partition are sorted.
    version
        Of the schema: a new nullable column keeps it, anything else raises it.
    description
        What a row is.
    """

    name: str
    schema: pa.Schema
    key: tuple[str, ...]
    sort: tuple[str, ...]
    version: int
    description: str

    def __init__(
        self,
        name: str,
        description: str,
        columns: Sequence[pa.Field],
        *,
        key: tuple[str, ...],
        sort: tuple[str, ...],
        version: int = 1,
    ) -> None:
        metadata = {"callmood.table": name, "callmood.schema_version": str(version)}
        schema = pa.schema(columns, metadata=metadata)
        if len(set(schema.names)) != len(schema.names) or not {*key, *sort} <= set(schema.names):
            raise TableSchemaError(f"{name}: column names must be unique and hold key {key} and sort {sort}")
        for attribute, value in (
            ("name", name),
            ("schema", schema),
            ("key", key),
            ("sort", sort),
            ("version", version),
            ("description", description),
        ):
            object.__setattr__(self, attribute, value)

    @property
    def published_schema(self) -> pa.Schema:
        """The schema of a published file, where call_date stands in the path alone."""
        position = self.schema.get_field_index(PARTITION_COLUMN)
        return self.schema.remove(position) if position >= 0 else self.schema

    def empty(self) -> pa.Table:
        """Make the table without rows."""
        return self.schema.empty_table()

    def check(self, found: pa.Table | pa.Schema) -> None:
        """Refuse rows or a schema that are not this table's.

        Names, order and types of the columns have to be the same, and columns that are never null may have no
        null. Whether a schema calls a column nullable does not count: Spark calls every column so.

        Raises
        ------
        TableSchemaError
            Names the first column that differs, what it is and what was expected.
        """
        schema = found if isinstance(found, pa.Schema) else found.schema
        missing = [name for name in self.schema.names if name not in schema.names]
        surplus = [name for name in schema.names if name not in self.schema.names]
        surplus += [name for name, times in Counter(schema.names).items() if times > 1]
        if missing or surplus:
            differences = [f"lacks column {', '.join(missing)}"] * bool(missing)
            differences += [f"has unknown or repeated column {', '.join(surplus)}"] * bool(surplus)
            raise TableSchemaError(
                f"table {self.name} {' and '.join(differences)}; expected the columns of schema version {self.version}"
            )
        for field, expected in zip(schema, self.schema, strict=True):
            if field.name != expected.name:
                raise TableSchemaError(
                    f"table {self.name} has column {field.name} where {expected.name} was expected; "
                    "bring the columns into the order of the schema (Table.conform)"
                )
            if field.type != expected.type:
                raise TableSchemaError(
                    f"table {self.name}, column {field.name}: found type {field.type}, expected {expected.type}"
                )
        if isinstance(found, pa.Table):
            for name, nulls in self._forbidden_nulls(found):
                raise TableSchemaError(
                    f"table {self.name}, column {name}: found {nulls} nulls in {found.num_rows} rows, expected none"
                )

    def conform(self, rows: pa.Table) -> pa.Table:
        """Bring rows into this table's form: order of the columns, exact types, metadata.

        Types change only within their kind (a column without values into any type, 64-bit into 32-bit floats,
        integers that fit, string variants, time zones); a missing column that may be null becomes null.

        Raises
        ------
        TableSchemaError
            Where a column is missing, unknown, of another kind, or null where it may not be.
        """
        columns = []
        for field in self.schema:
            if field.name in rows.column_names:
                columns.append(self._convert(rows.column(field.name), field))
            elif field.nullable:
                columns.append(pa.nulls(rows.num_rows, field.type))
        names = [field.name for field in self.schema if field.nullable or field.name in rows.column_names]
        surplus = [name for name in rows.column_names if name not in self.schema.names]
        conformed = pa.table([*columns, *map(rows.column, surplus)], names=[*names, *surplus])
        self.check(conformed)
        return conformed.cast(self.schema)

    def _convert(self, values: pa.ChunkedArray, field: pa.Field) -> pa.ChunkedArray:
        if values.type == field.type:
            return values
        if not _same_kind(values.type, field.type):
            raise TableSchemaError(
                f"table {self.name}, column {field.name}: found type {values.type}, expected {field.type}"
            )
        try:
            return values.cast(field.type)
        except pa.ArrowInvalid as error:
            raise TableSchemaError(
                f"table {self.name}, column {field.name}: values of type {values.type} do not fit into {field.type}"
            ) from error

    def _forbidden_nulls(self, rows: pa.Table) -> Iterator[tuple[str, int]]:
        for field in self.schema:
            nulls = rows.column(field.name).null_count
            if nulls and not field.nullable:
                yield field.name, nulls


def _same_kind(found: pa.DataType, expected: pa.DataType) -> bool:
    if pa.types.is_null(found):
        return True
    if pa.types.is_map(expected) or pa.types.is_struct(expected):
        return bool(found == expected)
    if pa.types.is_list(expected):
        lists = pa.types.is_list(found) or pa.types.is_large_list(found)
        return lists and (found.value_type == expected.value_type or _same_kind(found.value_type, expected.value_type))
    if pa.types.is_timestamp(expected):
        return pa.types.is_timestamp(found) and found.tz is not None
    kinds = (
        pa.types.is_integer,
        pa.types.is_floating,
        lambda kind: pa.types.is_string(kind) or pa.types.is_large_string(kind),
        lambda kind: pa.types.is_binary(kind) or pa.types.is_large_binary(kind),
    )
    return any(kind(found) and kind(expected) for kind in kinds)
