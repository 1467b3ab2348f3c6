"""The soak's own store, and what it calls growth."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from infra.demo.local_s3 import LocalS3
from tests.benchmarks.recordings import key
from tests.benchmarks.steps import BUCKET
from tests.soak import GREW_MB, SHORT_S, Body, growth_mb, store

NUMBER = 2100
FLAT = [300.0] * SHORT_S


def test_the_store_lists_all_page_by_page_and_gives_each_what_it_has() -> None:
    objects = {key(index): Body(f"{index % 3}".encode() * (index % 3), "scored") for index in range(NUMBER)}
    with store(objects) as address:
        client = LocalS3(address).client()
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix="CallRecordings/2026/11/20/")
        listed = {each["Key"]: (each["Size"], each["ETag"]) for page in pages for each in page["Contents"]}
        assert listed == {name: (len(body.content), f'"{body.etag}"') for name, body in objects.items()}
        assert not client.list_objects_v2(Bucket=BUCKET, Prefix="CallRecordings/2026/11/21/").get("Contents")
        for name in list(objects)[:4]:
            assert client.get_object(Bucket=BUCKET, Key=name)["Body"].read() == objects[name].content


@pytest.mark.parametrize(
    ("held", "grew"),
    [
        (FLAT, False),
        ([0.0] * 300 + FLAT, False),  # Spark's workers come later
        ([each + second for second, each in enumerate(FLAT)], True),
        (FLAT[1:], None),
    ],
    ids=["flat", "flat, once it is there", "growing", "too short to tell"],
)
def test_growth(held: Sequence[float], grew: bool | None) -> None:
    found = growth_mb(held)
    assert (found if found is None else found > GREW_MB) == grew
