"""The errors of the jobs: permanent ones, which a retry cannot heal, and transient ones, which it may.

A message says what was found, what was expected and what to do. It names no person's id: messages reach logs.
"""


class JobError(Exception):
    """Base of all: ``permanent`` tells the scheduler whether to try again."""

    permanent = True


class SettingsError(JobError):
    """A setting is missing or wrong."""


class StepOrderError(JobError):
    """A step was started before the one whose result it needs, or that result is another run's or incomplete."""


class TaskRefused(JobError):
    """A task of a Spark job failed, and another try cannot help."""


class TaskFailed(JobError):
    """A task of a Spark job failed unexpectedly; another try may help."""

    permanent = False


class UnreadableFile(JobError):
    """A file of records, events or surveys cannot be read to its end."""


class ContactRecordsError(JobError):
    """The contact records cannot be read at all (single bad rows are reported, not raised)."""


class OptOutsError(JobError):
    """The list of those who opted out is missing or wrong; without it no one may be scored."""


class ValidationFailed(JobError):
    """The staged tables break an expectation; nothing was published."""


class ReconciliationError(JobError):
    """planned = scored + quarantined + skipped does not hold."""


class DayWouldBeEmptied(JobError):
    """A run without a scored call would replace a day that has calls."""


class ModelChanged(JobError):
    """The same model finds other emotions in the same clips than it did."""


class NothingToRelease(JobError):
    """No quarantined recording is what was asked for."""


class NotRepublishable(JobError):
    """An earlier run cannot be published once more."""


class CoverageTooLow(JobError):
    """Too little of a day was scored to publish it unasked."""


class NotEnrichable(JobError):
    """An enrichment was asked for of a day that was never published, or not with all that it needs."""


class NotPublished(JobError):
    """Something was asked of a day that was never published."""


class DayPublishedAnew(JobError):
    """A day was published since an enrichment read it: no retry of publishing helps, a new run does."""


class ErasedMeanwhile(JobError):
    """A run holds rows of somebody of whom everything was erased since it was planned."""


class RunWithdrawn(JobError):
    """An erasure deleted what a run had staged: a new run of the day has to begin."""


class CalibrationError(JobError):
    """The survey scores that are there cannot be fitted to calls."""


class WrongPerson(JobError):
    """Whom an erasure or a disclosure is of cannot be told from what was given."""


class ErasureIncomplete(JobError):
    """Something of an erased person was still found, or a day could not be rebuilt; the erasure is to be repeated."""

    permanent = False


class StorageError(JobError):
    """A storage location cannot be read or written; ``code`` is the store's own, where it gave one."""

    permanent = False

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class DamagedFile(JobError):
    """A file that the jobs keep for themselves is not what they write there."""


class StorageAccessDenied(JobError):
    """The store refuses: credentials or permissions are wrong, or the bucket does not exist; ``code`` as above."""

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class DayLocked(JobError):
    """Another run is publishing the same call date."""

    permanent = False
