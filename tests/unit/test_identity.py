"""Keyed hashes: the HMAC that they are, and the keys that are printed for the list of opt-outs."""

from __future__ import annotations

import hashlib
import hmac
import io
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from jobs.identity import DIGITS, keyed_hash, main

SECRET = "0123456789abcdef"
Printed = Callable[[bytes], tuple[int, list[str], str]]


def test_a_hash_is_the_hmac_of_kind_and_id() -> None:
    expected = hmac.new(b"secret", b"customer\0+15550100", hashlib.sha256).hexdigest()
    assert keyed_hash(b"secret", "customer", "+15550100") == expected[:DIGITS]


@pytest.mark.parametrize(
    "other", [(b"Secret", "customer", "x"), (b"secret", "agent", "x"), (b"secret", "customer", "X")]
)
def test_another_secret_kind_or_id_has_another_hash(other: tuple[bytes, str, str]) -> None:
    assert keyed_hash(*other) != keyed_hash(b"secret", "customer", "x")


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Printed:
    """Runs the command on an input: its exit status, what it prints, and what it says is wrong."""
    for name in ("RECORDINGS", "STAGING", "WAREHOUSE", "REPORTS"):
        monkeypatch.setenv(f"CALLMOOD_{name}", "s3://b")
    monkeypatch.setenv("CALLMOOD_IDENTITY_KEY", SECRET)

    def run(content: bytes) -> tuple[int, list[str], str]:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
        status = main([])
        captured = capsys.readouterr()
        return status, captured.out.splitlines(), captured.err

    return run


@pytest.mark.parametrize(
    ("content", "ids"),
    [
        (b"", []),
        (b"+15550100", ["+15550100"]),
        (b"+15550100\r\n\n K-12 \n", ["+15550100", "K-12"]),
        ("\ufeffMüller\nx".encode(), ["Müller", "x"]),
    ],
)
def test_keys_are_printed_a_line_each(printed: Printed, content: bytes, ids: list[str]) -> None:
    keys = [keyed_hash(SECRET.encode(), "customer", customer) for customer in ids]
    assert printed(content) == (0, keys, "")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"x\n\xff", "line 2 is not UTF-8"),
        (b"x\n\n" + b"y" * 257, "line 3 is no id; expected at most 256 characters"),
        (b"a\0b", "line 1 is no id"),
    ],
)
def test_what_is_no_id_is_an_error_without_it(printed: Printed, content: bytes, says: str) -> None:
    status, _, said = printed(content)
    assert status == 2
    assert said.startswith(says)
    assert "yyy" not in said


def test_without_a_key_it_says_what_to_do(printed: Printed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CALLMOOD_IDENTITY_KEY")
    status, keys, said = printed(b"x")
    assert (status, keys) == (2, [])
    assert "CALLMOOD_IDENTITY_KEY_FILE" in said
