"""The errors of schemas: a class each.

A message says what was found and what was expected, and names no id.
"""


class SchemaError(Exception):
    """Base of every error that schemas raises on purpose."""

    permanent = True


class TableSchemaError(SchemaError):
    """Rows or a schema are not those that the table asks for."""


class ExpectationError(SchemaError):
    """Staged tables could not be judged at all."""
