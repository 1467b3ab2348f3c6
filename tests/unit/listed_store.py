"""An S3 that answers lists by prefix, page by page, and nothing else: for the tests of planning."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

WRITTEN = datetime(2026, 11, 21, 0, 30, tzinfo=UTC)


class ListedStore:
    """Stands for a boto3 client.

    Parameters
    ----------
    objects
        Size and time of writing by key; of keys alone 1,000 bytes, written after midnight.
    page_size
        Keys to a page.
    """

    def __init__(self, objects: Mapping[str, tuple[int, datetime]] | list[str], page_size: int = 1000) -> None:
        self.objects = dict.fromkeys(objects, (1000, WRITTEN)) if isinstance(objects, list) else objects
        self._keys = sorted(self.objects)
        self._page_size = page_size
        self.listed: list[str] = []

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"{name} was asked for, and nothing but lists is to be")

    def get_paginator(self, operation: str) -> ListedStore:
        assert operation == "list_objects_v2"
        return self

    def paginate(self, *, Bucket: str, Prefix: str) -> Iterator[Mapping[str, Any]]:  # noqa: N803 - boto3's names
        assert Bucket == "recordings"
        self.listed.append(Prefix)
        start = end = bisect_left(self._keys, Prefix)
        while end < len(self._keys) and self._keys[end].startswith(Prefix):
            end += 1
        for first in range(start, end, self._page_size):
            keys = self._keys[first : min(first + self._page_size, end)]
            yield {"KeyCount": len(keys), "Contents": [self._item(key) for key in keys]}
        if start == end:
            yield {"KeyCount": 0}

    def _item(self, key: str) -> dict[str, Any]:
        size, written = self.objects[key]
        return {"Key": key, "Size": size, "LastModified": written, "ETag": f'"etag of {key}"'}
