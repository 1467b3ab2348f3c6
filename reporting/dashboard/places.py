"""Where the dashboard's data are: the warehouse, the recordings, the model; by the jobs' settings or by arguments.

The dashboard's only door to the settings and storages of jobs/, beside `tables` and the store of labels.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from jobs.errors import JobError
from jobs.layouts import Layouts, open_layouts
from jobs.settings import ROOT, Settings, load_settings, load_store_settings
from jobs.storage import LocalStorage, Storage, open_storage, storage_from_options
from ser_model.audio import ChannelRole

LEFT_CUSTOMER: tuple[ChannelRole, ...] = ("customer", "agent")


class RecordingUnreachable(Exception):
    """The sound of a call cannot be had from here; the message is a sentence for the page."""


@dataclass(frozen=True)
class Recordings:
    """The recordings of calls.

    Attributes
    ----------
    folders
        Folders with copies of the bucket's objects, below their keys; looked into first, in this order.
    s3_endpoint, s3_region
        The server of S3 where it is not AWS, and the region.
    layouts
        Whose channel is whose; None: the customer on the left, as in Amazon Connect's.
    location
        The place that keys are relative to for the layouts.
    """

    folders: tuple[str, ...] = ()
    s3_endpoint: str = ""
    s3_region: str = "us-east-1"
    layouts: Layouts | None = None
    location: str = ""

    def channel_roles(self, source_uri: str) -> tuple[ChannelRole, ...]:
        """Whose each channel of a recording is."""
        found = self.layouts and self.layouts.match(source_uri.removeprefix(f"{self.location}/"))
        if not found:
            return LEFT_CUSTOMER
        layout, key = found
        return cast(tuple[ChannelRole, ...], layout.channel_roles(key))

    @contextmanager
    def opened(self, addresses: Sequence[str]) -> Iterator[list[BinaryIO]]:
        """Open a recording's objects: one, or two that are a side each.

        Raises
        ------
        RecordingUnreachable
            Where one of them is not there, or may not be read.
        """
        with ExitStack() as files:
            yield [files.enter_context(self._open(address)) for address in addresses]

    def _open(self, address: str) -> BinaryIO:
        bucket, _, key = address.removeprefix("s3://").partition("/")
        for folder in self.folders:
            try:
                return LocalStorage(folder).open_binary(key)
            except (FileNotFoundError, JobError):
                continue
        if self.folders:
            raise RecordingUnreachable(
                "The recording is in none of the folders that the dashboard was started with (RECORDINGS)."
            )
        place = {"location": f"s3://{bucket}", "endpoint": self.s3_endpoint, "region": self.s3_region}
        try:
            return storage_from_options(place).open_binary(key)
        except FileNotFoundError:
            raise RecordingUnreachable("The recording is no longer where it was scored.") from None
        except JobError as error:
            raise RecordingUnreachable(f"The recording cannot be reached from here: {error}.") from None


@dataclass(frozen=True)
class Places:
    """All that the dashboard reads, and the warehouse, to which it adds labels.

    Attributes
    ----------
    model
        Folder of the model that "Try a recording" uses.
    """

    warehouse: Storage
    recordings: Recordings
    model: Path

    @classmethod
    def of(cls, arguments: Sequence[str]) -> Places:
        """Find the places by the arguments of `add_arguments`, or else by the settings.

        Raises
        ------
        jobs.errors.SettingsError
            Where no warehouse is named, or a setting is wrong.
        """
        parser = argparse.ArgumentParser()
        add_arguments(parser)
        return cls.named(parser.parse_args(arguments))

    @classmethod
    def named(cls, given: argparse.Namespace) -> Places:
        """Find the places by parsed arguments; as `of`."""
        folders = tuple(given.recordings)
        if given.warehouse is not None:
            model = given.model or str(Settings.model_fields["model"].default)
            return cls(LocalStorage(given.warehouse), Recordings(folders), Path(model))
        store = load_store_settings()
        warehouse = open_storage(store.warehouse, store)
        if folders and given.model:
            return cls(warehouse, Recordings(folders), Path(given.model))
        settings = load_settings()
        recordings = Recordings(
            folders,
            settings.s3_endpoint or "",
            settings.s3_region,
            open_layouts(settings),
            settings.recordings,
        )
        return cls(warehouse, recordings, ROOT / (given.model or settings.model))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments that say where things are."""
    parser.add_argument("--warehouse", help="a folder of published tables, instead of the setting")
    parser.add_argument(
        "--recordings",
        action="append",
        default=[],
        metavar="FOLDER",
        help="a folder with the bucket's recordings below their keys, instead of S3; may be repeated",
    )
    parser.add_argument("--model", help="the model that tries recordings, instead of the setting")
