"""topic_emotions: a row a scored call and topic, with what the customer's speech shows while it is about the topic."""

import pyarrow as pa

from schemas.table import Table, call_date, column, run_id
from ser_model.taxonomy import EMOTIONS

NO_SPEECH = "nothing of the customer was classified there"

TABLE = Table(
    "topic_emotions",
    "A row a scored call and topic: what the customer's classified speech shows (of mono recordings: the mixed speech) "
    "while the call is about the topic (topics). A segment counts by the part of it that lies there.",
    [
        call_date(),
        column("contact_id", pa.string(), "The contact"),
        column("topic", pa.string(), "The topic, as in topics"),
        column("topic_s", pa.float64(), "How long the call is about it"),
        column("speech_s", pa.float64(), "Classified speech of the customer in that time"),
        column("dominant_emotion", pa.string(), "The emotion with the highest mean probability", null_when=NO_SPEECH),
        *(
            column(
                f"{mood}_share",
                pa.float32(),
                f"Share of the speech that is {mood}, by probability",
                null_when=NO_SPEECH,
            )
            for mood in ("negative", "neutral", "positive")
        ),
        column("valence", pa.float32(), "Mean valence of the speech, -1 to 1", null_when=NO_SPEECH),
        *(
            column(
                f"p_{emotion}",
                pa.float32(),
                f"Mean probability of {emotion}, 0 to 1",
                null_when=f"{NO_SPEECH}, or the model does not know {emotion}",
            )
            for emotion in EMOTIONS
        ),
        run_id(),
    ],
    key=("call_date", "contact_id", "topic"),
    sort=("contact_id", "topic"),
)
