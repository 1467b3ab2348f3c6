"""What logs and messages may say: no id and no path of a person, unless somebody who must know asked for it.

Ids are asked for with a step's ``--debug-ids`` or ``CALLMOOD_DEBUG_IDS=true``. Without, the traceback of an unexpected
error says where it happened and of which type it is; its message, which may quote data, is left out.
"""

from __future__ import annotations

import logging
import re
import sys
import traceback
from types import TracebackType

# A UUID, as most telephone systems name contacts, and what is long enough for a telephone number.
_LIKE_AN_ID = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}|\+?\d{9,}")

_ids_are_shown = False


def show_ids(shown: bool) -> None:
    """Say, once a process, whether ids may be shown."""
    global _ids_are_shown
    _ids_are_shown = shown


def ids_are_shown() -> bool:
    """Whether this process may show ids; Spark's workers are told by their tasks."""
    return _ids_are_shown


def of(address: str) -> str:
    """The end of a message that says which recording it is about; nothing where ids are not shown."""
    return f": {address}" if _ids_are_shown else ""


def file_name(name: str) -> str:
    """The name of a file of records: what in it looks like an id is masked where ids are not shown."""
    return name if _ids_are_shown else _LIKE_AN_ID.sub("***", name)


def start_logging() -> None:
    """Log to standard error, once a process."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(DiscreetFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    for noisy in ("py4j", "botocore", "boto3", "urllib3", "great_expectations", "matplotlib", "s3transfer"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


class DiscreetFormatter(logging.Formatter):
    """A formatter that leaves out what errors say, and keeps what they are and where they come from."""

    def formatException(  # noqa: N802 - the name is logging's
        self, ei: tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]
    ) -> str:
        """Format a traceback without its errors' messages."""
        if _ids_are_shown or ei[1] is None:
            return super().formatException(ei)
        chain = []
        error: BaseException | None = ei[1]
        while error is not None:
            chain.append("".join(traceback.format_tb(error.__traceback__)) + type(error).__name__)
            error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        return "\nwhile handling:\n".join(reversed(chain)) + " (CALLMOOD_DEBUG_IDS=true shows what it said)"
