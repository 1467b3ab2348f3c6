"""Keyed hashes in place of people's ids: the same person has the same hash, and no one without the key can tell who.

``python -m jobs.identity`` prints the customer keys of ids that it reads from standard input, one a line: as they
stand in ``contacts.customer_key``, and as the list of opt-outs takes them. An id is hashed as the contact record has
it, but for blanks around it: a telephone number in the record's own form (+15550100), not as people write it.
"""

from __future__ import annotations

import argparse
import hashlib
import hmac
import sys
from collections.abc import Sequence

from jobs.command import run_command

DIGITS = 32


def keyed_hash(secret: bytes, kind: str, value: str) -> str:
    """The hash that stands for an id.

    Parameters
    ----------
    secret
        The key; it lives outside the warehouse.
    kind
        What the id is of (customer, agent): the same text as another kind of id hashes differently.
    value
        The id.

    Returns
    -------
    The first 32 hexadecimal digits of the HMAC-SHA256 (RFC 2104).
    """
    return hmac.new(secret, f"{kind}\0{value}".encode(), hashlib.sha256).hexdigest()[:DIGITS]


def main(argv: Sequence[str] | None = None) -> int:
    """Print the customer keys of the ids on standard input; the exit status is 2 where one is none."""
    from jobs.errors import JobError
    from jobs.fields import MAX_ID_CHARACTERS
    from jobs.settings import load_settings

    parser = argparse.ArgumentParser(
        prog="python -m jobs.identity", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.parse_args(argv)
    try:
        secret = load_settings().identity_secret()
    except JobError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    for number, line in enumerate(sys.stdin.buffer, start=1):
        try:
            customer = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
        except UnicodeDecodeError:
            sys.stderr.write(f"line {number} is not UTF-8; expected an id\n")
            return 2
        if "\0" in customer or len(customer) > MAX_ID_CHARACTERS:
            sys.stderr.write(f"line {number} is no id; expected at most {MAX_ID_CHARACTERS} characters\n")
            return 2
        if customer:
            sys.stdout.write(keyed_hash(secret, "customer", customer) + "\n")
    return 0


if __name__ == "__main__":
    run_command(main)
