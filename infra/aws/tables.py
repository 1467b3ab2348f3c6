"""Glue's registration of the published tables: ``python -m infra.aws.tables > infra/aws/tables.json``.

Made from schemas/, where the columns are written down once. Does not know where the warehouse is: that is a parameter.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import pyarrow as pa

from schemas import LABELS, TABLES
from schemas.table import PARTITION_COLUMN, Table

COMMENT_LENGTH = 255
"""What Glue allows a column's comment and a description's first line here."""
_NAMES = {
    "string": "string",
    "bool": "boolean",
    "int8": "tinyint",
    "int16": "smallint",
    "int32": "int",
    "int64": "bigint",
    "float": "float",
    "double": "double",
    "date32[day]": "date",
    "timestamp[us, tz=UTC]": "timestamp",
    "binary": "binary",
}
_PARQUET = "org.apache.hadoop.hive.ql.io.parquet"


def glue_type(kind: pa.DataType) -> str:
    """Return Glue's name of an Arrow type.

    Raises
    ------
    KeyError
        Where it has none here: a new column's type is added above.
    """
    if pa.types.is_list(kind):
        return f"array<{glue_type(kind.value_type)}>"
    if pa.types.is_map(kind):
        return f"map<{glue_type(kind.key_type)},{glue_type(kind.item_type)}>"
    return _NAMES[str(kind)]


def template() -> dict[str, Any]:
    """Return the CloudFormation template: a resource a table."""
    tables = {**{name: _delta(table) for name, table in TABLES.items()}, LABELS.name: _parquet(LABELS)}
    return {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": "Callmood's published tables for Athena. Made by python -m infra.aws.tables; do not edit.",
        "Parameters": {
            "Database": {"Type": "String", "Default": "callmood", "Description": "DatabaseName of the other stack"},
            "Warehouse": {"Type": "String", "Description": "WarehouseLocation of the other stack: s3://bucket/tables"},
        },
        "Resources": {
            "".join(part.capitalize() for part in name.split("_")): {
                "Type": "AWS::Glue::Table",
                "Properties": {
                    "CatalogId": {"Ref": "AWS::AccountId"},
                    "DatabaseName": {"Ref": "Database"},
                    "TableInput": table,
                },
            }
            for name, table in tables.items()
        },
    }


def _delta(table: Table) -> dict[str, Any]:
    """A table with a log, from which Athena takes columns and files: a day that is replaced is never read twice."""
    return _table(
        table,
        parameters={"EXTERNAL": "TRUE", "classification": "delta", "spark.sql.sources.provider": "delta"},
        storage={
            "InputFormat": "org.apache.hadoop.mapred.SequenceFileInputFormat",
            "OutputFormat": "org.apache.hadoop.hive.ql.io.HiveSequenceFileOutputFormat",
            "SerdeInfo": {
                "SerializationLibrary": "org.apache.hadoop.hive.serde2.lazy.LazySimpleSerDe",
                "Parameters": {"path": _location(table)},
            },
        },
    )


def _parquet(table: Table) -> dict[str, Any]:
    """A table that is files alone, whose days Athena works out instead of being told of each."""
    return _table(
        table,
        parameters={
            "EXTERNAL": "TRUE",
            "classification": "parquet",
            "projection.enabled": "true",
            f"projection.{PARTITION_COLUMN}.type": "date",
            f"projection.{PARTITION_COLUMN}.format": "yyyy-MM-dd",
            f"projection.{PARTITION_COLUMN}.range": "2020-01-01,NOW+1DAYS",
        },
        storage={
            "InputFormat": f"{_PARQUET}.MapredParquetInputFormat",
            "OutputFormat": f"{_PARQUET}.MapredParquetOutputFormat",
            "SerdeInfo": {"SerializationLibrary": f"{_PARQUET}.serde.ParquetHiveSerDe"},
        },
    )


def _table(table: Table, parameters: dict[str, str], storage: dict[str, Any]) -> dict[str, Any]:
    return {
        "Name": table.name,
        "Description": _comment(table.description),
        "TableType": "EXTERNAL_TABLE",
        "Parameters": {**parameters, "callmood.schema_version": str(table.version)},
        "PartitionKeys": [_column(table.schema.field(PARTITION_COLUMN))],
        "StorageDescriptor": {
            "Columns": [_column(field) for field in table.published_schema],
            "Location": _location(table),
            **storage,
        },
    }


def _location(table: Table) -> dict[str, str]:
    return {"Fn::Sub": f"${{Warehouse}}/{table.name}"}


def _column(field: pa.Field) -> dict[str, str]:
    description = (field.metadata or {})[b"description"].decode()
    return {"Name": field.name, "Type": glue_type(field.type), "Comment": _comment(description)}


def _comment(text: str) -> str:
    """The text, or of a long one its beginning up to a word's end."""
    return text if len(text) <= COMMENT_LENGTH else text[: COMMENT_LENGTH - 3].rpartition(" ")[0] + " ..."


if __name__ == "__main__":
    json.dump(template(), sys.stdout, indent=1)
    sys.stdout.write("\n")
