"""Errors of the demo's parts: each says what was found, what was expected and what to do."""


class DemoError(Exception):
    """Something that the demo needs is missing or failed; the message is one line for the user."""


class VoicesMissingError(DemoError):
    """The library with the voices of the sample calls is not installed or does not work."""


class ForeignFolderError(DemoError):
    """The folder meant for sample calls holds something else."""


class LocalS3Error(DemoError):
    """The local S3 server did not start or an upload to it failed."""
