"""Where runs keep and publish their files: a local folder or an s3:// location, behind one small interface.

The only module that knows which of the two it is. It knows nothing of tables, runs or steps.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import posixpath
import re
import secrets
import shutil
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar, cast

from jobs.errors import DamagedFile, SettingsError, StorageAccessDenied, StorageError

if TYPE_CHECKING:
    import boto3
    import pyarrow
    import pyarrow.fs
    from mypy_boto3_s3 import S3Client

    from jobs.settings import StoreSettings

S3_ATTEMPTS = 10
S3_CONNECT_S, S3_READ_S = 10, 60
"""How long a request waits for a connection, and for more of an answer; pyarrow's own limit is 3 s."""
BODY_ATTEMPTS = 4
"""How often an object is asked for whose bytes break off or come damaged: botocore tries requests again, not bodies."""
BODY_WAIT_S = 0.5
_SLOWEST_BYTES_S, _SLOWEST_AFTER_S = 100_000, 60
_CHUNK_BYTES = 256 << 10
SPOOLED_BYTES = 32 << 20  # a temporary copy of at most this size stays in memory
# What no second try heals: permissions, credentials, names and regions.
_DENIED = {
    "301",
    "403",
    "AccessDenied",
    "AllAccessDisabled",
    "AuthorizationHeaderMalformed",
    "InvalidAccessKeyId",
    "InvalidBucketName",
    "InvalidToken",
    "KMS.DisabledException",
    "NoSuchBucket",
    "PermanentRedirect",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
}
_MISSING = {"404", "NoSuchKey", "NotFound"}
_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"}
# How pyarrow's and deltalake's own clients of S3 say a store's code.
_SAID_CODES = (
    re.compile(r"<Code>(\w+)</Code>"),
    re.compile(r"ExceptionName: (\w+)"),
    re.compile(r"AWS Error ([A-Z_]+)"),
)
_BROKE_OFF = "BrokeOff"  # a code of our own: an answer, be it a refusal, that ended in its midst
_NO_CREDENTIALS = "NoCredentials"  # a code of our own, where no store was asked
NOT_OF_AN_OBJECT = frozenset(
    {*_EXPIRED, _NO_CREDENTIALS, "InvalidAccessKeyId", "InvalidToken", "NoSuchBucket", "RequestTimeTooSkewed"}
)
"""What is refused with these codes is refused whichever object is asked for."""

Made = TypeVar("Made")


@dataclass(frozen=True)
class StoredFile:
    """A file of a location: its path below the location, with ``/``, and its size in bytes."""

    path: str
    size_bytes: int


class Storage(ABC):
    """A location with files below it, named by relative paths with ``/``.

    Attributes
    ----------
    location
        The folder's absolute path, or ``s3://bucket/prefix``; never ends in ``/``.
    """

    location: str

    @abstractmethod
    def read(self, path: str) -> bytes:
        """Return the file's bytes; ``FileNotFoundError`` where there is none."""

    @abstractmethod
    def open_binary(self, path: str) -> BinaryIO:
        """Open the file for reading, of whatever size: an object of S3 as a temporary copy on this machine's disk.

        ``FileNotFoundError`` where there is none.
        """

    @abstractmethod
    def write(self, path: str, content: bytes) -> None:
        """Write the file whole or not at all: a reader sees the old bytes or the new."""

    @abstractmethod
    def create(self, path: str, content: bytes) -> bool:
        """Write the file if there is none; whether it was written. One of several racing callers succeeds.

        The content has to be the caller's own (a random token will do): who finds it there has written it.
        """

    @abstractmethod
    def delete(self, path: str) -> None:
        """Delete the file; nothing happens where there is none."""

    @abstractmethod
    def files(self, prefix: str = "") -> Iterator[StoredFile]:
        """All files below ``prefix``, a folder's path, at any depth, sorted by path.

        A local folder's include what writers have not finished, or left when they were killed, so that whoever clears
        up finds it: ``.NAME.RANDOM`` until it is whole.
        """

    @abstractmethod
    def copy_in(self, source: Storage, source_path: str, path: str) -> None:
        """Copy a file of another location (or this one) to ``path``."""

    @abstractmethod
    def filesystem(self) -> tuple[pyarrow.fs.FileSystem, str]:
        """The pyarrow file system and the location's path in it."""

    @abstractmethod
    def delta_options(self) -> dict[str, str]:
        """The storage options with which ``deltalake`` reaches this location."""

    def open_input(self, path: str) -> pyarrow.NativeFile:
        """Open a file for reading at random."""
        filesystem, root = self.filesystem()
        return filesystem.open_input_file(f"{root}/{path}")

    def open_output(self, path: str) -> pyarrow.NativeFile:
        """Open a new file for writing; unlike ``write``, readers may see a part of it."""
        filesystem, root = self.filesystem()
        return filesystem.open_output_stream(f"{root}/{path}")

    def read_json(self, path: str, parse: Callable[[Any], Made]) -> Made:
        """Return what ``parse`` makes of a JSON file that the jobs wrote; ``FileNotFoundError`` where there is none.

        Raises
        ------
        DamagedFile
            Where it is no JSON, or ``parse`` does not find in it what it expects.
        """
        content = self.read(path)
        try:
            return parse(json.loads(content))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise damaged_file(self.uri(path), content, error) from error

    def exists(self, path: str) -> bool:
        """Whether there is a file at ``path``."""
        try:
            self.read(path)
        except FileNotFoundError:
            return False
        return True

    def uri(self, path: str) -> str:
        """The location of a path below this one."""
        return f"{self.location}/{path}"

    def delete_below(self, prefix: str) -> int:
        """Delete every file below the folder ``prefix``; how many there were."""
        doomed = [file.path for file in self.files(prefix)]
        for path in doomed:
            self.delete(path)
        return len(doomed)


class LocalStorage(Storage):
    """A folder of this machine, or of a file system that all workers mount.

    What is made in it is for its owner alone, whatever the process's umask is.

    Parameters
    ----------
    folder
        Its path.
    group_reads
        Whether the owner's group may read it, too.
    """

    def __init__(self, folder: str | Path, *, group_reads: bool = False) -> None:
        self.folder = Path(folder).expanduser().absolute()
        self.location = str(self.folder)
        self._folder_mode, self._file_mode = (0o750, 0o640) if group_reads else (0o700, 0o600)

    def _file(self, path: str) -> Path:
        """Where a path is, which leads nowhere else, whatever a name or a manifest holds."""
        if path.startswith("/") or ".." in path.split("/") or "\0" in path:
            raise StorageAccessDenied(
                f"found a path that leads out of {self.location}; nothing was read or written; look who may write "
                "there: a file that names other files may have been tampered with"
            )
        return self.folder / path

    def read(self, path: str) -> bytes:  # noqa: D102 - as in Storage, here and below
        with local_errors("read", self.location):
            return self._file(path).read_bytes()

    def open_binary(self, path: str) -> BinaryIO:  # noqa: D102
        with local_errors("read", self.location):
            try:
                return self._file(path).open("rb")
            except (IsADirectoryError, NotADirectoryError):
                raise FileNotFoundError(f"{path} is no file") from None

    def write(self, path: str, content: bytes) -> None:  # noqa: D102
        self._put(path, lambda part: part.write(content), os.replace)

    def create(self, path: str, content: bytes) -> bool:  # noqa: D102
        created = True

        def name_it(part: Path, target: Path) -> None:
            nonlocal created
            try:
                # A hard link fails where the name is taken, and never shows a file without its content.
                os.link(part, target)
            except FileExistsError:
                created = False

        self._put(path, lambda part: part.write(content), name_it)
        return created

    def _put(self, path: str, fill: Callable[[BinaryIO], object], name_it: Callable[[Path, Path], object]) -> None:
        """Fill a file beside ``path``, then give it the name."""
        target = self._file(path)

        def put() -> None:
            # The name starts with a dot so that no reader's glob takes a half-written file for a whole one.
            part = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
            try:
                with part.open("xb") as file:
                    os.fchmod(file.fileno(), self._file_mode)
                    fill(file)
                    file.flush()
                    os.fsync(file.fileno())
                name_it(part, target)
            finally:
                with suppress(OSError):
                    part.unlink()

        self._in_folder(target.parent, put)

    def _in_folder(self, folder: Path, work: Callable[[], Made]) -> Made:
        """Do the work in a folder, which is made where it is missing.

        Another process's ``delete`` may take it away in the moment that it is empty: then both are done again.
        """
        with local_errors("written", self.location):
            for _ in range(10):
                with suppress(FileNotFoundError, FileExistsError):
                    self._make(folder)
                    return work()
            self._make(folder)
            return work()

    def _make(self, folder: Path) -> None:
        missing = []
        while not folder.is_dir():
            missing.append(folder)
            folder = folder.parent
        for each in reversed(missing):
            each.mkdir(exist_ok=True)
            each.chmod(self._folder_mode)  # mkdir's own mode is less what the umask takes away

    def delete(self, path: str) -> None:  # noqa: D102
        with local_errors("deleted", self.location):
            self._file(path).unlink(missing_ok=True)
            parent = self._file(path).parent
            with suppress(OSError):
                while parent != self.folder:
                    parent.rmdir()
                    parent = parent.parent

    def files(self, prefix: str = "") -> Iterator[StoredFile]:  # noqa: D102
        with local_errors("listed", self.location):
            # os.walk passes over folders that vanish meanwhile; by the whole path, as S3 sorts.
            found = (Path(folder, name) for folder, _, names in os.walk(self._file(prefix)) for name in names)
            for path in sorted(path.relative_to(self.folder).as_posix() for path in found):
                with suppress(FileNotFoundError):
                    yield StoredFile(path, self._file(path).stat().st_size)

    def copy_in(self, source: Storage, source_path: str, path: str) -> None:  # noqa: D102
        if not isinstance(source, LocalStorage):
            self.write(path, source.read(source_path))
            return

        def fill(part: BinaryIO) -> None:
            with source._file(source_path).open("rb") as original:
                shutil.copyfileobj(original, part, 1 << 20)

        self._put(path, fill, os.replace)

    def filesystem(self) -> tuple[pyarrow.fs.FileSystem, str]:  # noqa: D102
        import pyarrow.fs

        return pyarrow.fs.LocalFileSystem(), self.location

    def open_input(self, path: str) -> pyarrow.NativeFile:  # noqa: D102
        self._file(path)
        return super().open_input(path)

    def open_output(self, path: str) -> pyarrow.NativeFile:  # noqa: D102
        def create() -> pyarrow.NativeFile:
            file = self._file(path)
            file.touch(mode=0o600)
            file.chmod(self._file_mode)
            return super(LocalStorage, self).open_output(path)

        return self._in_folder(self._file(path).parent, create)

    def delta_options(self) -> dict[str, str]:  # noqa: D102
        return {}


class S3Storage(Storage):
    """A bucket, or a prefix in one.

    Parameters
    ----------
    location
        ``s3://bucket`` or ``s3://bucket/prefix``.
    endpoint, region
        The server's address where it is not AWS, and the bucket's region. Credentials come the AWS way.
    """

    def __init__(self, location: str, endpoint: str | None, region: str) -> None:
        self.bucket, _, prefix = location.removeprefix("s3://").partition("/")
        self.prefix = prefix.strip("/")
        self.location = f"s3://{self.bucket}/{self.prefix}".rstrip("/")
        self.endpoint = endpoint
        self.region = region
        self._client: S3Client | None = None

    @property
    def client(self) -> S3Client:
        """The boto3 client, made when first needed."""
        if self._client is None:
            self._client = s3_client(self.endpoint, self.region)
        return self._client

    def __getstate__(self) -> dict[str, Any]:
        """Leave the client behind: it does not travel to Spark's workers."""
        return {**self.__dict__, "_client": None}

    def _key(self, path: str) -> str:
        return posixpath.join(self.prefix, path) if self.prefix else path

    def _fetch(self, path: str, target: BinaryIO) -> None:
        """Copy the object's bytes into an empty file; what breaks off is fetched again, after waits."""
        seen: set[str] | None = set() if is_plain(self.endpoint) else None
        for attempt in range(1, BODY_ATTEMPTS + 1):
            answer: Mapping[str, Any] | None = None
            try:
                with s3_errors(self.location):
                    answer = self.client.get_object(Bucket=self.bucket, Key=self._key(path))
                    return copy_body(answer, target, seen)
            except StorageError as error:
                # What botocore has tried often enough is not tried again here.
                if attempt == BODY_ATTEMPTS or (answer is None and error.code != _BROKE_OFF):
                    raise
            target.seek(0)
            target.truncate()
            time.sleep(BODY_WAIT_S * 2 ** (attempt - 1))
        raise AssertionError("the last attempt returns or raises")

    def read(self, path: str) -> bytes:  # noqa: D102
        copy = io.BytesIO()
        self._fetch(path, copy)
        return copy.getvalue()

    def open_binary(self, path: str) -> BinaryIO:  # noqa: D102
        with local_errors("written", "the folder for temporary files"), ExitStack() as opened:
            copy = opened.enter_context(tempfile.SpooledTemporaryFile(SPOOLED_BYTES))
            self._fetch(path, cast(BinaryIO, copy))
            copy.seek(0)
            opened.pop_all()
            return cast(BinaryIO, copy)

    def write(self, path: str, content: bytes) -> None:  # noqa: D102
        with s3_errors(self.location):
            self.client.put_object(Bucket=self.bucket, Key=self._key(path), Body=content)

    def create(self, path: str, content: bytes) -> bool:  # noqa: D102
        from botocore.exceptions import ClientError

        with s3_errors(self.location):
            try:
                self.client.put_object(Bucket=self.bucket, Key=self._key(path), Body=content, IfNoneMatch="*")
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") not in {"PreconditionFailed", "412"}:
                    raise
                # Where the answer to a first try was lost, boto3's second finds the first one's file.
                return self._holds(path, content)
        return True

    def _holds(self, path: str, content: bytes) -> bool:
        try:
            return self.read(path) == content
        except FileNotFoundError:
            return False

    def delete(self, path: str) -> None:  # noqa: D102
        with s3_errors(self.location), suppress(FileNotFoundError):
            self.client.delete_object(Bucket=self.bucket, Key=self._key(path))

    def files(self, prefix: str = "") -> Iterator[StoredFile]:  # noqa: D102
        start = self._key(prefix.rstrip("/") + "/" if prefix else "")
        with s3_errors(self.location):
            for page in self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=start):
                for item in page.get("Contents", []):
                    path = item["Key"][len(self.prefix) + 1 :] if self.prefix else item["Key"]
                    yield StoredFile(path, item["Size"])

    def copy_in(self, source: Storage, source_path: str, path: str) -> None:  # noqa: D102
        if isinstance(source, S3Storage) and (source.endpoint, source.region) == (self.endpoint, self.region):
            with s3_errors(self.location):
                self.client.copy(
                    {"Bucket": source.bucket, "Key": source._key(source_path)}, self.bucket, self._key(path)
                )
        else:
            self.write(path, source.read(source_path))

    def filesystem(self) -> tuple[pyarrow.fs.FileSystem, str]:  # noqa: D102
        import pyarrow.fs

        options: dict[str, Any] = {
            "region": self.region,
            "retry_strategy": pyarrow.fs.AwsStandardS3RetryStrategy(max_attempts=S3_ATTEMPTS),
            "connect_timeout": S3_CONNECT_S,
            "request_timeout": S3_READ_S,
            # A small file is one PUT, which can be repeated, and leaves no begun upload where its writer is killed.
            "allow_delayed_open": True,
        }
        if self.endpoint:
            scheme, _, host = self.endpoint.partition("://")
            options |= {"endpoint_override": host, "scheme": scheme}
        if (credentials := self._credentials()) is not None:
            access_key, secret_key, token = credentials
            options |= {"access_key": access_key, "secret_key": secret_key}
            options |= {"session_token": token} if token else {}
        return pyarrow.fs.S3FileSystem(**options), self.location.removeprefix("s3://")

    def delta_options(self) -> dict[str, str]:  # noqa: D102
        options = {"AWS_REGION": self.region}
        if self.endpoint:
            options["AWS_ENDPOINT_URL"] = self.endpoint
            if self.endpoint.startswith("http://"):
                options["AWS_ALLOW_HTTP"] = "true"
        if (credentials := self._credentials()) is not None:
            access_key, secret_key, token = credentials
            options |= {"AWS_ACCESS_KEY_ID": access_key, "AWS_SECRET_ACCESS_KEY": secret_key}
            options |= {"AWS_SESSION_TOKEN": token} if token else {}
        return options

    def _credentials(self) -> tuple[str, str, str | None] | None:
        """Key, secret and token of now, as the client has them from a profile, a role or the environment.

        Delta and pyarrow know fewer ways to come by them, such as no role that a profile takes on.
        """
        with s3_errors(self.location):
            found = self.client._request_signer._credentials  # type: ignore[attr-defined]
            now = None if found is None else found.get_frozen_credentials()
        return None if now is None else (now.access_key, now.secret_key, now.token)


def open_storage(location: str, settings: StoreSettings) -> Storage:
    """The storage of a location: ``s3://bucket/prefix``, or a folder's path.

    Raises
    ------
    SettingsError
        Where the location is of another scheme.
    """
    group_reads = settings.folder_readers == "group" and location != getattr(settings, "staging", None)
    return storage_from_options(
        {
            "location": location,
            "endpoint": settings.s3_endpoint or "",
            "region": settings.s3_region,
            "group_reads": str(group_reads),
        }
    )


def storage_from_options(options: Mapping[str, str]) -> Storage:
    """The storage of a location by plain words: location, and of S3 endpoint and region."""
    location = options["location"]
    if location.startswith("s3://"):
        return S3Storage(location, options["endpoint"] or None, options["region"])
    if "://" in location:
        raise SettingsError(f"{location!r} is neither s3://bucket/prefix nor a folder's path")
    return LocalStorage(location, group_reads=options.get("group_reads") == str(True))


def s3_client(endpoint: str | None, region: str) -> S3Client:
    """A boto3 client that tries again with back-off, as S3 asks for.

    Raises
    ------
    SettingsError
        Where the endpoint is no address, or the region no name of one.
    """
    from botocore.config import Config

    config = Config(
        retries={"mode": "standard", "total_max_attempts": S3_ATTEMPTS},
        connect_timeout=S3_CONNECT_S,
        read_timeout=S3_READ_S,
        max_pool_connections=32,
        s3={"addressing_style": "path"} if endpoint else None,
    )
    try:
        return _session().client("s3", endpoint_url=endpoint, region_name=region, config=config)
    except ValueError as error:
        raise SettingsError(
            f"S3 cannot be asked ({error}); expected an endpoint such as https://s3.example.com or "
            f"http://127.0.0.1:9000, or none, and a region such as us-east-1; found {endpoint!r} and {region!r}"
        ) from None


def is_plain(endpoint: str | None) -> bool:
    """Whether a store is asked without TLS, which would notice every byte that changes on the way."""
    return endpoint is not None and endpoint.startswith("http:")


def copy_body(answer: Mapping[str, Any], target: BinaryIO, seen: set[str] | None) -> None:
    """Copy the body of an answer of get_object, and check it against what the store says of it.

    The length is botocore's to check, and so is the checksum that newer stores give. Where there is none, the ETag is
    the MD5 of an object that was put in one piece and not encrypted with a key of its own; a store of which that is
    not so gives the same bytes twice.

    Parameters
    ----------
    answer
        What get_object returned.
    target
        A file, to be written from where it is.
    seen
        The MD5s of what earlier attempts gave for the same object; this one's is added. None where the MD5 need not
        be looked at.

    Raises
    ------
    StorageError
        Where the bytes are others than the store says, or come too slowly.
    """
    etag = str(answer.get("ETag", "")).strip('"')
    is_checked = any(answer.get(f"Checksum{kind}") for kind in ("CRC32", "SHA1", "SHA256"))
    is_md5 = re.fullmatch("[0-9a-f]{32}", etag) and "aws:kms" not in str(answer.get("ServerSideEncryption"))
    digest = None if seen is None or is_checked or not is_md5 else hashlib.md5(usedforsecurity=False)
    started, copied = time.monotonic(), 0
    while chunk := answer["Body"].read(_CHUNK_BYTES):
        target.write(chunk)
        copied += len(chunk)
        if digest is not None:
            digest.update(chunk)
        waited = time.monotonic() - started
        if waited > _SLOWEST_AFTER_S + copied / _SLOWEST_BYTES_S:
            raise StorageError(f"an object came too slowly ({copied} bytes in {waited:.0f} s); try again later", "slow")
    if digest is not None and seen is not None and (found := digest.hexdigest()) not in {etag, *seen}:
        seen.add(found)
        raise StorageError("an object's bytes are not those of its MD5; try again later", "damaged")


@cache
def _session() -> boto3.Session:
    """The process's session: credentials are looked for once, and times are read by what reads them fast.

    A page of 1,000 keys has as many times, and read by botocore's own reader they take two thirds of the page's time.
    """
    import boto3
    import botocore.session
    from botocore.utils import parse_timestamp

    def read_time(said: Any) -> datetime:
        try:
            return datetime.fromisoformat(said)
        except (TypeError, ValueError):  # the other notations of AWS: seconds since 1970, and those of HTTP's headers
            return parse_timestamp(said)

    session = botocore.session.get_session()
    session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=read_time)
    return boto3.Session(botocore_session=session)


@contextmanager
def s3_errors(where: str) -> Iterator[None]:
    """Turn botocore's errors into ``FileNotFoundError`` (no such key), access denied, or a transient error."""
    from botocore.exceptions import (
        BotoCoreError,
        ClientError,
        NoCredentialsError,
        ParamValidationError,
        PartialCredentialsError,
        ProfileNotFound,
    )
    from urllib3.exceptions import HTTPError

    try:
        yield
    except (NoCredentialsError, PartialCredentialsError, ProfileNotFound):
        raise StorageAccessDenied(
            f"no credentials for {where}; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile or a role",
            _NO_CREDENTIALS,
        ) from None
    except ParamValidationError:
        raise StorageAccessDenied(
            f"{where} is no name that a bucket or an object can have; check the setting"
        ) from None
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", "unknown"))
        if code in _MISSING:
            raise FileNotFoundError(f"no such object in {where}") from None
        raise _refused(where, code) from None
    except BotoCoreError as error:
        raise StorageError(
            f"{where} cannot be reached ({type(error).__name__}); check the address and the network"
        ) from None
    except HTTPError as error:  # botocore lets through what happens while it reads a refusal
        raise StorageError(
            f"{where} cannot be reached ({type(error).__name__}); check the address and the network", _BROKE_OFF
        ) from None


def _refused(where: str, code: str) -> StorageAccessDenied | StorageError:
    """What a store refuses with a code, after as many tries as it may heal in."""
    if code in _DENIED:
        return StorageAccessDenied(
            f"{where} answers {code}; check that the bucket exists, the credentials, and their permissions", code
        )
    if code in _EXPIRED:
        return StorageError(
            f"{where} answers {code}: the credentials have expired; give the jobs a role, whose credentials are "
            "renewed, or new ones, and start the step again",
            code,
        )
    return StorageError(f"{where} answers {code} after {S3_ATTEMPTS} attempts; try again later", code)


def said_by_a_store(where: str, error: Exception) -> StorageAccessDenied | StorageError | None:
    """What an error of pyarrow's or deltalake's says that the store answered, as `s3_errors` has boto3's; or None."""
    said = next(filter(None, (code.search(str(error)) for code in _SAID_CODES)), None)
    if said is None:
        return None
    code = said[1].title().replace("_", "") if said[1].isupper() else said[1]  # SLOW_DOWN is pyarrow's word for it
    if code == "NetworkConnection":
        return StorageError(f"{where} cannot be reached; check the address and the network")
    return _refused(where, code)


def damaged_file(where: str, content: bytes, error: Exception) -> DamagedFile:
    """What is raised of a file that is not what the jobs keep there, as an error of reading it shows."""
    return DamagedFile(
        f"{where} is damaged, or of another version of the code: its {len(content)} bytes are not what the jobs keep "
        f"there ({type(error).__name__}); restore it from a copy, or, if a run's staging holds it, start a new run of "
        "the day"
    )


def is_full(error: OSError) -> bool:
    """Whether a disk, or what may be taken of it, is full."""
    return error.errno in {errno.ENOSPC, errno.EDQUOT}


@contextmanager
def parquet_errors(where: str) -> Iterator[None]:
    """Turn what pyarrow says of bytes that are no Parquet into an error that may heal: S3 may have cut them short."""
    import pyarrow as pa

    try:
        yield
    except pa.ArrowInvalid as error:
        says = str(error).partition("\n")[0]
        raise StorageError(
            f"{where} holds a Parquet file that cannot be read ({says}); try again, and if it stays so, run what wrote "
            "it again: the step if it is staged, the day if it is published"
        ) from error


@contextmanager
def local_errors(done: str, where: str) -> Iterator[None]:
    """Turn the errors of files into ours, but for ``FileNotFoundError``; also those of pyarrow's client of S3."""
    try:
        yield
    except FileNotFoundError:
        raise
    except PermissionError as error:
        raise StorageAccessDenied(
            f"{where} cannot be {done} ({error.strerror}); check the folder's permissions"
        ) from None
    except (NotADirectoryError, FileExistsError):
        raise SettingsError(
            f"{where} cannot be {done}: it, or what it is in, is a file; expected a folder, or none yet"
        ) from None
    except OSError as error:
        if (answer := said_by_a_store(where, error)) is not None:
            raise answer from None
        says = error.strerror or (os.strerror(error.errno) if error.errno else type(error).__name__)
        raise StorageError(f"{where} cannot be {done} ({says}); check the disk and its free space") from None
