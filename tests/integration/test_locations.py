"""What every storage keeps, on a folder and on an S3 server alike."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from jobs.storage import LocalStorage, S3Storage, Storage, StoredFile

NewStorage = Callable[[str], Storage]


@pytest.fixture
def storage(new_storage: NewStorage) -> Storage:
    return new_storage("here")


def test_read_gives_what_write_wrote_last(storage: Storage) -> None:
    storage.write("a/file", b"one")
    storage.write("a/file", b"two")
    assert storage.read("a/file") == b"two"
    assert (storage.exists("a/file"), storage.exists("a/other")) == (True, False)
    with pytest.raises(FileNotFoundError):
        storage.read("a/other")


def test_create_writes_only_where_there_is_none(storage: Storage) -> None:
    assert storage.create("file", b"mine")
    assert not storage.create("file", b"another's")
    assert storage.read("file") == b"mine"


def test_one_of_many_creates_it(storage: Storage) -> None:
    start = threading.Barrier(8)
    created = []

    def create(name: str) -> None:
        start.wait()
        if storage.create("lock", name.encode()):
            created.append(name)

    storage.exists("made the client")
    threads = [threading.Thread(target=create, args=(f"holder {number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [storage.read("lock").decode()] == created


def test_files_are_listed_below_a_folder_in_the_order_of_their_paths(storage: Storage) -> None:
    for path in ("b/2", "b-1", "b/1", "b/c/3", "bb/4", "a"):
        storage.write(path, path.encode())
    below = [StoredFile("b/1", 3), StoredFile("b/2", 3), StoredFile("b/c/3", 5)]
    assert list(storage.files("b")) == below
    assert [file.path for file in storage.files()] == ["a", "b-1", *(file.path for file in below), "bb/4"]
    assert list(storage.files("none")) == []


def test_a_listing_of_many_pages_is_whole(storage: Storage) -> None:
    if isinstance(storage, S3Storage):  # whose pages hold 1,000
        storage.client.meta.events.register("before-parameter-build.s3.ListObjectsV2", _three_a_page)
    paths = [f"many/{number:02}" for number in range(10)]
    for path in paths:
        storage.write(path, b"")
    assert [file.path for file in storage.files("many")] == paths
    assert storage.delete_below("many") == 10
    assert list(storage.files()) == []


def _three_a_page(params: dict[str, object], **_: object) -> None:
    params["MaxKeys"] = 3


def test_deleting_what_is_not_there_is_no_error(storage: Storage) -> None:
    storage.delete("a/b")
    assert storage.delete_below("a") == 0


@pytest.mark.parametrize("source", ["same kind", "folder"])
def test_copies_come_from_any_location(storage: Storage, new_storage: NewStorage, tmp_path, source: str) -> None:
    other = new_storage("there") if source == "same kind" else LocalStorage(tmp_path / "other")
    other.write("from", b"content" * 1000)
    storage.copy_in(other, "from", "to/file")
    assert storage.read("to/file") == b"content" * 1000
    with pytest.raises(FileNotFoundError):
        storage.copy_in(other, "nothing", "to/nothing")
    assert [file.path for file in storage.files()] == ["to/file"]


def test_streams_read_and_write_the_same_files(storage: Storage) -> None:
    with storage.open_output("a/new") as sink:
        sink.write(b"0123456789")
    with storage.open_input("a/new") as source:
        source.seek(4)
        assert source.read(3) == b"456"
    with pytest.raises(FileNotFoundError):
        storage.open_input("a/none")
