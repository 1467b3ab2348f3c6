"""emotion_log: a row a speech segment of either side, with the emotion of those that were classified."""

import pyarrow as pa

from schemas.table import Table, call_date, column, run_id
from ser_model.taxonomy import EMOTIONS

ROLES = ("customer", "agent", "mixed")
NOT_CLASSIFIED = "the segment was not classified"
NO_PITCH = "the segment was not classified, or nothing in it is voiced"

SEGMENT_COLUMNS = (
    call_date(),
    column("contact_id", pa.string(), "The contact"),
    column("role", pa.string(), "Who speaks: customer, agent, or mixed where one channel holds both"),
    column("turn_index", pa.int32(), "Number of the turn among those of the same role in the call, from 0"),
    column(
        "segment_index",
        pa.int32(),
        "Number of the segment within its turn, from 0; a segment has at most 3 s",
    ),
    column("start_s", pa.float64(), "Start of the segment, from the start of the recording"),
    column("end_s", pa.float64(), "End of the segment, from the start of the recording"),
    column("classified", pa.bool_(), "Whether the segment's emotion was classified"),
)
"""The columns that emotion_log shares with the staged segments."""

PROSODY_COLUMNS = (
    column("loudness_dbfs", pa.float32(), "Mean level of the segment", null_when=NOT_CLASSIFIED),
    column("pitch_hz", pa.float32(), "Median pitch of the voiced parts", null_when=NO_PITCH),
    column("pitch_range_st", pa.float32(), "Spread of the pitch, 10th to 90th percentile", null_when=NO_PITCH),
    column(
        "speaking_rate_hz",
        pa.float32(),
        "Syllable nuclei a second",
        null_when="the segment was not classified, or is too short",
        unit="syllables/s",
    ),
)
"""Prosody of a segment, in staging and in emotion_log."""

PROBABILITY_COLUMNS = tuple(
    column(
        f"p_{emotion}",
        pa.float32(),
        f"Calibrated probability of {emotion}, 0 to 1",
        null_when=f"{NOT_CLASSIFIED}, or the model does not know {emotion}",
    )
    for emotion in EMOTIONS
)

TABLE = Table(
    "emotion_log",
    "A row a speech segment of either side. By default only the customer's are classified.",
    [
        *SEGMENT_COLUMNS,
        column("emotion", pa.string(), "The most probable emotion", null_when=NOT_CLASSIFIED),
        column("confidence", pa.float32(), "Probability of that emotion, 0 to 1", null_when=NOT_CLASSIFIED),
        *PROBABILITY_COLUMNS,
        column(
            "emotion_set",
            pa.list_(pa.string()),
            "The emotions among which the true one is in 90% of the cases (conformal set), most probable first",
            null_when=NOT_CLASSIFIED,
        ),
        column(
            "valence",
            pa.float32(),
            "How pleasant, -1 to 1: the circumplex's coordinate expected over the probabilities",
            null_when=NOT_CLASSIFIED,
        ),
        column(
            "arousal",
            pa.float32(),
            "How activated, -1 to 1: the circumplex's coordinate expected over the probabilities",
            null_when=NOT_CLASSIFIED,
        ),
        *PROSODY_COLUMNS,
        column("model_id", pa.string(), "The model: name, version, start of its hash", null_when=NOT_CLASSIFIED),
        run_id(),
    ],
    key=("call_date", "contact_id", "role", "turn_index", "segment_index"),
    sort=("contact_id", "start_s", "role"),
)
