"""CloudFormation templates and IAM policies as the tests read them: resolved, and asked whether they allow something.

The evaluator knows what the templates here use, and refuses a condition that it does not know. It knows no boundaries,
session policies or organizations: what these deny is denied in AWS, whatever a test says.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from cfnlint.decode import cfn_yaml

Json = Any


def load(template: Path) -> dict[str, Any]:
    """Read a template, its short tags as the long functions."""
    return cfn_yaml.load(str(template))


def resolve(value: Json, names: Mapping[str, str]) -> Json:
    """Put in what a template refers to; what is not named here stays as it is.

    Parameters
    ----------
    value
        A part of the template.
    names
        What ``Ref`` of a name is, by the name, and what ``Fn::GetAtt`` is, by ``Name.Attribute``.
    """
    if isinstance(value, Mapping):
        if set(value) == {"Ref"}:
            return names.get(value["Ref"], value)
        if set(value) == {"Fn::GetAtt"}:
            asked = value["Fn::GetAtt"]
            return names.get(asked if isinstance(asked, str) else ".".join(asked), value)
        if set(value) == {"Fn::Sub"}:
            text = re.sub(r"\$\{([^}]+)}", lambda found: names.get(found[1], found[0]), value["Fn::Sub"])
            return {"Fn::Sub": text} if "${" in text else text
        return {str(key): resolve(each, names) for key, each in value.items()}
    if isinstance(value, list):
        return [resolve(each, names) for each in value]
    return value


def is_allowed(
    policies: Iterable[Mapping[str, Json]], action: str, resource: str, context: Mapping[str, str] | None = None
) -> bool:
    """Whether policy documents allow an action on a resource: one statement does, and none denies it."""
    statements = [each for policy in policies for each in _many(policy["Statement"])]
    said = {each["Effect"] for each in statements if _applies(each, action, resource, context or {})}
    return said == {"Allow"}


def _applies(statement: Mapping[str, Json], action: str, resource: str, context: Mapping[str, str]) -> bool:
    return (
        any(_like(action.lower(), each.lower()) for each in _many(statement["Action"]))
        and any(_like(resource, each) for each in _many(statement["Resource"]))
        and all(
            _holds(operator, context.get(key), [str(each) for each in _many(wanted)])
            for operator, keys in statement.get("Condition", {}).items()
            for key, wanted in keys.items()
        )
    )


def _holds(operator: str, found: str | None, wanted: list[str]) -> bool:
    if operator == "Null":
        return wanted == [str(found is None).lower()]
    if operator == "StringNotEquals":  # which holds of what is not said at all
        return found not in wanted
    if operator in {"StringEquals", "Bool"}:
        return found in wanted
    if operator == "StringLike":
        return found is not None and any(_like(found, each) for each in wanted)
    raise ValueError(f"the condition {operator} is not known here: add it to tests/aws.py")


def _like(text: str, pattern: str) -> bool:
    return fnmatch.fnmatchcase(text, pattern.replace("[", "[[]"))


def _many(value: Json) -> list[Json]:
    return value if isinstance(value, list) else [value]
