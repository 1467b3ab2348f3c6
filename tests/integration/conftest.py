"""What the integration tests share: a local S3 server, and locations on it or in a folder."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from infra.demo.local_s3 import LocalS3, local_s3
from jobs.storage import LocalStorage, S3Storage, Storage

BUCKET = "callmood-tests"


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalS3]:
    """A local S3 server with a bucket of the tests', whose credentials are in the environment."""
    with (
        local_s3(tmp_path_factory.mktemp("s3") / "server.log", buckets=(BUCKET,)) as server,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("AWS_ACCESS_KEY_ID", server.access_key)
        patch.setenv("AWS_SECRET_ACCESS_KEY", server.secret_key)
        yield server


@pytest.fixture(params=["folder", pytest.param("s3", marks=pytest.mark.s3)])
def new_storage(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], Storage]:
    """Makes empty locations by name: the same test runs on folders and on an S3 server."""
    if request.param == "folder":
        return lambda name: LocalStorage(tmp_path / name)
    server: LocalS3 = request.getfixturevalue("s3")
    unique = f"{tmp_path.name}-{secrets.token_hex(4)}"
    return lambda name: S3Storage(f"s3://{BUCKET}/{unique}/{name}", server.endpoint_url, server.region)
