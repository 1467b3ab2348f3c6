"""labels: a row a judgement: what somebody heard in a segment, and how the segment came to be heard.

Not one of the tables that a night replaces: judgements are added by people, and outlive a rerun of their day.
"""

import pyarrow as pa

from schemas.table import TIMESTAMP, Table, call_date, column
from ser_model.taxonomy import EMOTIONS

MOODS = ("negative", "neutral", "positive", "ambiguous")
SAMPLES = ("random", "flagged", "uncertain")
UNCLEAR = "the annotator could not tell"

TABLE = Table(
    "labels",
    "A row a judgement of one segment by one annotator, made in the dashboard before the model's view was shown. Added "
    "by people: no night replaces it.",
    [
        call_date(),
        column("contact_id", pa.string(), "The contact"),
        column("role", pa.string(), "Who speaks, as in emotion_log"),
        column("start_s", pa.float64(), "Start of the segment, as in emotion_log then"),
        column("end_s", pa.float64(), "End of the segment"),
        column(
            "emotion",
            pa.string(),
            f"What the annotator heard: {', '.join(EMOTIONS)}",
            null_when=f"the annotator gave the mood alone, or {UNCLEAR}",
        ),
        column("mood", pa.string(), f"Its mood, or the mood alone: {', '.join(MOODS)}", null_when=UNCLEAR),
        column("annotator", pa.string(), "The annotator's pseudonym, chosen by the annotator"),
        column(
            "sampled_by",
            pa.string(),
            "Why it was heard: random: drawn from all classified customer segments of 1 s and more, of the chosen days "
            "and queues; flagged: from those that the model calls angry; uncertain: from the tenth of which the model "
            "is least sure",
        ),
        column(
            "weight",
            pa.float64(),
            "How many segments of that kind it stands for: those there were to draw from, by those drawn at once",
        ),
        column("model_id", pa.string(), "The model whose view was hidden"),
        column("model_emotion", pa.string(), "What the model calls the segment most probably"),
        column("model_confidence", pa.float32(), "The probability that the model gives it, 0 to 1"),
        column("labelled_at", TIMESTAMP, "When it was judged (UTC)"),
    ],
    key=("call_date", "contact_id", "role", "start_s", "annotator", "labelled_at"),
    sort=("contact_id", "start_s", "annotator", "labelled_at"),
)
