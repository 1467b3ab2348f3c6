"""The errors of ser_model: a class each, with a reason code that a table can carry.

A message says what was found, what was expected and what to do.
"""

from typing import ClassVar


class SerModelError(Exception):
    """Base of every error that ser_model raises on purpose."""

    reason_code: ClassVar[str] = "ser_model"


class FeatureSpecError(SerModelError):
    """A feature specification is incomplete, contradicts itself or is of an unknown kind."""

    reason_code = "feature_spec_invalid"


class SamplesError(SerModelError):
    """Samples are not a one-dimensional float32 array."""

    reason_code = "samples_invalid"


class ModelFolderError(SerModelError):
    """A model folder lacks a file, or a file in it cannot be read."""

    reason_code = "model_folder_invalid"


class ModelCardError(SerModelError):
    """model.yaml lacks a key, or a key has a wrong value."""

    reason_code = "model_card_invalid"


class ModelHashError(SerModelError):
    """A hash in model.yaml does not match the network file or the feature specification."""

    reason_code = "model_hash_mismatch"


class ModelContractError(SerModelError):
    """The network's inputs or outputs are not those that the contract asks for."""

    reason_code = "model_contract_broken"


class SegmentError(SerModelError):
    """A segment has a wrong shape or type, or the network returned no finite number for it."""

    reason_code = "segment_invalid"


class CorpusError(SerModelError):
    """A corpus folder is missing, unknown or holds nothing that its loader knows."""

    reason_code = "corpus_invalid"


class TrainingConfigError(SerModelError):
    """A training configuration lacks a key, has an unknown one or names speakers that are not there."""

    reason_code = "training_config_invalid"


class TrainingRunError(SerModelError):
    """A run folder cannot be resumed or exported."""

    reason_code = "training_run_invalid"


class TeacherError(SerModelError):
    """The teacher's weights are missing or others, or it has too few speakers to learn from."""

    reason_code = "teacher_invalid"


class EvaluationError(SerModelError):
    """An evaluation has nothing to measure: no clip, or no class that model and corpus share."""

    reason_code = "evaluation_invalid"


class RecordingError(SerModelError):
    """Base of the reasons why a recording cannot be scored; each ends in a quarantine or skipped row."""


class EmptyRecording(RecordingError):
    """The object has no bytes, or the container no audio."""

    reason_code = "empty"


class NotAudio(RecordingError):
    """The bytes are no audio container that libsndfile knows."""

    reason_code = "not_audio"


class UnsupportedCodec(RecordingError):
    """The container is known, but not what is in it."""

    reason_code = "unsupported_codec"


class UnsupportedChannels(RecordingError):
    """More channels than a call has sides, and no map that says which is whose."""

    reason_code = "unsupported_channels"


class UnsupportedRate(RecordingError):
    """The sampling rate is below telephone quality, or beyond what recorders make."""

    reason_code = "unsupported_rate"


class TruncatedRecording(RecordingError):
    """The container announces more audio than there is."""

    reason_code = "truncated"


class TooShort(RecordingError):
    """Less audio than any call has."""

    reason_code = "too_short"


class TooLong(RecordingError):
    """More audio than a call may have; the limit bounds a worker's memory."""

    reason_code = "too_long"


class NoSpeech(RecordingError):
    """Nobody speaks in the recording."""

    reason_code = "no_speech"


class MonoNotSeparable(RecordingError):
    """Both sides are in one channel, and mixed speech is not to be classified."""

    reason_code = "mono_not_separable"
