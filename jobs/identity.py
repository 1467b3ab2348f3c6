"""Keyed hashes in place of people's ids: the same person has the same hash, and no one without the key can tell who."""

from __future__ import annotations

import hashlib
import hmac

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
