"""Opt-outs: whose calls are not scored, by a contact attribute or by a list of customer keys.

Asked before a recording is fetched. Where it cannot be told who opted out, the night stops: docs/records.md.
"""

from __future__ import annotations

import codecs
import logging
import re
from collections.abc import Iterable
from typing import Self

from jobs.contacts import ContactRecord
from jobs.errors import OptOutsError, SettingsError
from jobs.identity import DIGITS, keyed_hash
from jobs.settings import Settings
from jobs.storage import open_storage

log = logging.getLogger("callmood.opt_outs")

_KEY = re.compile(rb"[0-9a-fA-F]{%d}" % DIGITS)
_LINE_BYTES = 4096


class OptOuts:
    """Those who opted out.

    Parameters
    ----------
    keys
        The customer keys of the list, as in ``contacts.customer_key``.
    secret
        The key of the keyed hashes; not needed where the list is empty.
    asked_for
        Whether the settings say how customers opt out.
    """

    def __init__(self, keys: Iterable[str] = (), secret: bytes = b"", *, asked_for: bool = False) -> None:
        self._keys = frozenset(keys)
        self._secret = secret
        self._asked_for = asked_for

    @classmethod
    def load(cls, settings: Settings) -> Self:
        """Read the list, where the settings name one.

        Raises
        ------
        OptOutsError
            Where the list is missing, cannot be read, or has a line that is no customer key.
        SettingsError
            Where opt-outs are asked for without the contact records, or without the field of them, that they need.
        StorageError, StorageAccessDenied
            Where the store does not answer, or refuses.
        """
        _check(settings)
        if settings.opt_outs is None:
            return cls(asked_for=settings.asks_for_opt_outs)
        keys = _read(settings.opt_outs, settings)
        log.info("%d customer keys are on the list of those who opted out", len(keys))
        return cls(keys, settings.identity_secret(), asked_for=True)

    def holds(self, record: ContactRecord | None, *, left_out: bool = False) -> bool:
        """Whether the contact's customer opted out.

        Of a contact without a record nobody can tell; but one whose record was left out as wrong (``left_out``) counts
        as one who did, where customers can.
        """
        if record is None:
            return left_out and self._asked_for
        if record.opted_out:
            return True
        if not self._keys or record.customer is None:
            return False
        return self.lists(keyed_hash(self._secret, "customer", record.customer))

    def lists(self, customer_key: str | None) -> bool:
        """Whether the list has this customer key, which published tables have when the record itself is gone."""
        return customer_key in self._keys


def _check(settings: Settings) -> None:
    if settings.contacts is None and (settings.opt_outs or settings.opt_out_attribute):
        raise SettingsError(
            "CALLMOOD_OPT_OUTS and CALLMOOD_OPT_OUT_ATTRIBUTE need contact records, which alone say whose call it is; "
            "set CALLMOOD_CONTACTS"
        )
    if settings.opt_outs and settings.contact_columns and "customer" not in settings.contact_columns:
        raise SettingsError(
            "CALLMOOD_OPT_OUTS needs the customer of each contact; name its column as customer in "
            "CALLMOOD_CONTACT_COLUMNS (docs/records.md)"
        )


def _read(place: str, settings: Settings) -> set[str]:
    folder, _, name = place.rpartition("/")
    keys = set()
    try:
        if not name or folder.endswith(":/"):
            raise FileNotFoundError
        with open_storage(folder or "/", settings).open_binary(name) as file:
            number = 0
            while line := file.readline(_LINE_BYTES):
                number += 1
                text = (line.removeprefix(codecs.BOM_UTF8) if number == 1 else line).strip()
                if not text or text.startswith(b"#"):
                    continue
                if not _KEY.fullmatch(text):
                    raise OptOutsError(
                        f"line {number} of the list of opt-outs {place} is no customer key: found {len(text)} bytes, "
                        f"expected {DIGITS} hexadecimal digits; make keys with python -m jobs.identity, and nobody is "
                        "scored until the list is right"
                    )
                keys.add(text.decode().lower())
    except FileNotFoundError:
        raise OptOutsError(
            f"there is no list of opt-outs at {place}; expected a file or an object s3://bucket/key with a customer "
            "key a line (an empty one where nobody opted out), and nobody is scored until it is there"
        ) from None
    except OSError as error:
        raise OptOutsError(
            f"the list of opt-outs {place} cannot be read ({error.strerror or type(error).__name__}); nobody is scored "
            "until it can be"
        ) from None
    return keys
