"""Storage on a folder, and what S3's answers are made of; tests/integration/test_locations.py has both alike."""

from __future__ import annotations

import io
import os
import pickle
import threading
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from botocore.awsrequest import AWSResponse
from botocore.credentials import Credentials
from botocore.exceptions import (
    ClientError,
    CredentialRetrievalError,
    EndpointConnectionError,
    NoCredentialsError,
)

from jobs.errors import SettingsError, StorageAccessDenied, StorageError
from jobs.settings import load_settings
from jobs.storage import (
    LocalStorage,
    S3Storage,
    Storage,
    open_storage,
    s3_client,
    s3_errors,
    storage_from_options,
)


@pytest.mark.parametrize(
    ("location", "kind", "found"),
    [
        ("s3://bucket/prefix", S3Storage, "s3://bucket/prefix"),
        ("s3://bucket/prefix/", S3Storage, "s3://bucket/prefix"),
        ("s3://bucket", S3Storage, "s3://bucket"),
        ("/data/warehouse", LocalStorage, "/data/warehouse"),
        ("/data/warehouse/", LocalStorage, "/data/warehouse"),
    ],
)
def test_a_location_says_what_it_is(location: str, kind: type[Storage], found: str) -> None:
    storage = storage_from_options({"location": location, "endpoint": "", "region": "eu-central-1"})
    assert type(storage) is kind
    assert storage.location == found


def test_another_scheme_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"'gs://bucket' is neither s3://bucket/prefix nor a folder's path"):
        storage_from_options({"location": "gs://bucket"})


@pytest.mark.parametrize("prefix", ["", "a/b"])
def test_a_storage_is_the_same_in_another_process(prefix: str) -> None:
    storage = S3Storage(f"s3://bucket/{prefix}", "http://127.0.0.1:9", "eu-central-1")
    again = pickle.loads(pickle.dumps(storage))  # noqa: S301 - our own bytes
    assert isinstance(again, S3Storage)
    assert (again.location, again.endpoint, again.region) == (storage.location, storage.endpoint, storage.region)


@pytest.mark.parametrize("token", [None, "token"])
def test_pyarrow_and_delta_get_the_credentials_that_the_client_has_now(
    token: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = S3Storage("s3://bucket/place", "http://127.0.0.1:9", "us-east-1")
    signer = storage.client._request_signer  # type: ignore[attr-defined]
    monkeypatch.setattr(signer, "_credentials", Credentials("of the role", "secret", token))
    filesystem, _ = storage.filesystem()
    options = storage.delta_options()
    assert (options["AWS_ACCESS_KEY_ID"], options.get("AWS_SESSION_TOKEN")) == ("of the role", token)
    assert storage.filesystem()[0] == filesystem
    monkeypatch.setattr(signer, "_credentials", Credentials("renewed", "secret", token))
    assert storage.filesystem()[0] != filesystem
    assert storage.delta_options()["AWS_ACCESS_KEY_ID"] == "renewed"


def test_credentials_that_cannot_be_had_are_one_of_our_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise CredentialRetrievalError(provider="sts", error_msg="no answer")

    storage = S3Storage("s3://bucket/place", None, "us-east-1")
    broken = SimpleNamespace(get_frozen_credentials=refuse)
    monkeypatch.setattr(storage.client._request_signer, "_credentials", broken)  # type: ignore[attr-defined]
    with pytest.raises(StorageError, match="s3://bucket/place cannot be reached"):
        storage.filesystem()


@pytest.mark.parametrize(
    ("cause", "kind", "says"),
    [
        (ClientError({"Error": {"Code": "NoSuchKey"}}, "GetObject"), FileNotFoundError, "no such object"),
        (ClientError({"Error": {"Code": "404"}}, "HeadObject"), FileNotFoundError, "no such object"),
        (ClientError({"Error": {"Code": "AccessDenied"}}, "GetObject"), StorageAccessDenied, "AccessDenied"),
        (ClientError({"Error": {"Code": "NoSuchBucket"}}, "GetObject"), StorageAccessDenied, "NoSuchBucket"),
        (ClientError({"Error": {"Code": "SlowDown"}}, "GetObject"), StorageError, "SlowDown after 10 attempts"),
        (NoCredentialsError(), StorageAccessDenied, "no credentials for s3://bucket"),
        (EndpointConnectionError(endpoint_url="http://x"), StorageError, "cannot be reached"),
    ],
)
def test_what_s3_answers_becomes_one_of_our_errors(cause: Exception, kind: type[Exception], says: str) -> None:
    with pytest.raises(kind, match=says), s3_errors("s3://bucket"):
        raise cause


class Body(io.BytesIO):
    """What an answer says, as urllib3 hands it over."""

    def stream(self, **_: object) -> list[bytes]:
        return [self.read()]


@pytest.mark.parametrize(
    "said",
    [
        "2026-11-20T08:03:00.000Z",  # AWS
        "2026-11-20T08:03:00Z",
        "2026-11-20T09:03:00+01:00",
        "Fri, 20 Nov 2026 08:03:00 GMT",  # HTTP's headers
        "1795161780",
    ],
)
def test_every_notation_of_a_time_is_read(said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    page = f"<ListBucketResult><Contents><LastModified>{said}</LastModified></Contents></ListBucketResult>"
    answer = AWSResponse("http://s3", 200, {"Last-Modified": said}, Body(page.encode()))
    client = s3_client("http://127.0.0.1:9", "eu-central-1")
    client.meta.events.register("before-send.s3", lambda **_: answer)
    (listed,) = client.list_objects_v2(Bucket="bucket")["Contents"]
    of_head = client.head_object(Bucket="bucket", Key="key")
    moment = datetime(2026, 11, 20, 8, 3, tzinfo=UTC)
    assert (listed["LastModified"], of_head["LastModified"]) == (moment, moment)


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    storage.write("file", b"old")
    with pytest.raises(TypeError):
        storage.write("file", "no bytes")  # type: ignore[arg-type]
    assert storage.read("file") == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_folder_that_is_a_file_is_an_error_that_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    storage = LocalStorage(tmp_path / "file")
    for done, work in {
        "read": lambda: storage.read("below"),
        "written": lambda: (storage.write("below", b""), storage.create("below", b"")),
        "deleted": lambda: storage.delete("below"),
    }.items():
        with pytest.raises(SettingsError, match=rf"/file cannot be {done}: it, or what it is in, is a file; expected"):
            work()


@pytest.mark.parametrize(
    ("endpoint", "region"),
    [("nonsense", "us-east-1"), ("http://", "us-east-1"), ("http://[::1", "us-east-1"), (None, "no region")],
)
def test_what_is_no_address_or_no_region_is_refused_before_anything_is_asked(endpoint: str | None, region: str) -> None:
    with pytest.raises(SettingsError, match=r"S3 cannot be asked .*expected an endpoint such as https://") as refused:
        s3_client(endpoint, region)
    assert f"found {endpoint!r} and {region!r}" in str(refused.value)


def test_deleting_takes_empty_folders_along_but_never_the_location(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path / "here")
    storage.write("a/b/one", b"1")
    storage.write("a/two", b"2")
    storage.delete("a/b/one")
    assert not (tmp_path / "here/a/b").exists()
    storage.delete("a/two")
    assert list((tmp_path / "here").iterdir()) == []


def test_writing_survives_that_others_take_the_empty_folder_away(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    failures = []

    def write_and_delete(name: str) -> None:
        try:
            for _ in range(200):
                storage.write(f"folder/{name}", b"content")
                storage.create(f"folder/{name}.new", b"content")
                with storage.open_output(f"folder/{name}.stream") as stream:
                    stream.write(b"content")
                storage.delete(f"folder/{name}")
                storage.delete(f"folder/{name}.stream")
                storage.delete(f"folder/{name}.new")
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=write_and_delete, args=(f"file{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


@pytest.mark.parametrize(("group_reads", "folder_mode", "file_mode"), [(False, 0o700, 0o600), (True, 0o750, 0o640)])
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_what_is_made_is_for_its_owner_whatever_the_umask(
    tmp_path: Path, group_reads: bool, folder_mode: int, file_mode: int, umask: int
) -> None:
    before = os.umask(umask)
    try:
        storage = LocalStorage(tmp_path / "made", group_reads=group_reads)
        storage.write("a/b/written", b"x")
        storage.create("created", b"x")
        with storage.open_output("c/streamed") as stream:
            stream.write(b"x")
        storage.copy_in(storage, "created", "d/copied")
    finally:
        os.umask(before)
    found = {path.relative_to(tmp_path).as_posix(): path.stat().st_mode & 0o777 for path in tmp_path.rglob("*")}
    folders = {path: mode for path, mode in found.items() if (tmp_path / path).is_dir()}
    assert folders == dict.fromkeys(("made", "made/a", "made/a/b", "made/c", "made/d"), folder_mode)
    files = {path: mode for path, mode in found.items() if path not in folders}
    assert files == dict.fromkeys(("made/a/b/written", "made/created", "made/c/streamed", "made/d/copied"), file_mode)


@pytest.mark.parametrize("readers", ["owner", "group"])
def test_staging_is_the_owners_alone_whoever_reads_the_rest(tmp_path: Path, readers: str) -> None:
    places = {name: str(tmp_path / name) for name in ("warehouse", "staging", "reports")}
    settings = load_settings(recordings="s3://r", folder_readers=readers, **places)
    modes = {}
    for name, place in places.items():
        storage = open_storage(place, settings)
        pickle.loads(pickle.dumps(storage)).write("file", b"x")  # noqa: S301 - as a worker does
        modes[name] = Path(place).stat().st_mode & 0o777
    shared = 0o750 if readers == "group" else 0o700
    assert modes == {"staging": 0o700, "warehouse": shared, "reports": shared}
