"""calls: a row a scored call; every judgement on it follows `schemas.definitions`."""

import pyarrow as pa

from schemas import definitions as d
from schemas.table import TIMESTAMP, Table, call_date, column, run_id

NO_SPEECH = "no speech of the customer was classified"
MIXED = "the recording is mono: the sides cannot be told apart"
NO_EDGES = f"under {2 * d.MOOD_EDGE_MIN_S:.0f} s of the customer's speech were classified"
SHORT = f"under {d.MIN_CUSTOMER_SPEECH_S:.0f} s of the customer's speech were classified"
NO_RECORD = "there is no contact record, or it does not say"
NO_AGENT = "neither a contact record nor the recording's key names one"
NO_SURVEY = f"no calibration to surveys is kept for its model (jobs.calibrate_satisfaction), or {SHORT}"
_SHARE = "share of the customer's classified speech time, by probability, 0 to 1 (surprised counts in none)"

TABLE = Table(
    "calls",
    "A row a scored call. Moods are of the customer; of both sides together where the recording is mono and the "
    "settings let mixed speech be classified (recordings.channel_kind). Where sidecars tell of holds and pauses "
    "(call_events), what is heard of the agent's side in a hold is music and announcements: it is neither talk nor a "
    "turn of the agent, nor mixed speech; the customer's wait is non-talk. Nothing that is said in a pause counts.",
    [
        call_date(),
        column("contact_id", pa.string(), "The contact"),
        column("source_uri", pa.string(), "Address of the recording"),
        column("started_at", TIMESTAMP, "Start of the call by the layout (UTC)", null_when="its key does not say"),
        column("queue", pa.string(), "Queue by the contact record", null_when=NO_RECORD),
        column("team", pa.string(), "Team of the agent", null_when=NO_RECORD),
        column(
            "agent_id",
            pa.string(),
            "The agent by the contact record, as in contacts, or else by the recording's key",
            null_when=NO_AGENT,
        ),
        column("duration_s", pa.float64(), "Length of the recording"),
        column("customer_talk_s", pa.float32(), "Speech of the customer, without the pauses in it", null_when=MIXED),
        column(
            "agent_talk_s",
            pa.float32(),
            "Speech of the agent outside holds, without the pauses in it",
            null_when=MIXED,
        ),
        column(
            "non_talk_s",
            pa.float32(),
            "Time in which nobody speaks, from the first second to the last, holds included; pauses of the recording "
            "(digital silence, and pause events of a sidecar) are left out, in a hold, too",
        ),
        column(
            "longest_silence_s",
            pa.float32(),
            "The longest stretch in which nobody speaks; a pause of the recording ends a stretch",
        ),
        column("overlap_s", pa.float32(), "Time in which both speak", null_when=MIXED),
        column(
            "customer_interruptions",
            pa.int32(),
            f"Turns of the customer that start {d.INTERRUPTION_LEAD_S} s and more before the agent's turn ends and go "
            f"on after it; under {d.BACK_CHANNEL_S:.0f} s it is a back-channel and none. A hold or a pause cuts a turn "
            "into what is before it and what is after it",
            null_when=MIXED,
        ),
        column(
            "agent_interruptions",
            pa.int32(),
            "The same of the agent's turns into the customer's",
            null_when=MIXED,
        ),
        column(
            "median_response_gap_s",
            pa.float32(),
            "Median time from the end of a customer's turn to the start of the agent's next, where the customer does "
            "not go on in between",
            null_when="the agent never answers, or " + MIXED,
        ),
        column("longest_turn_s", pa.float32(), "The longest turn of either side", null_when="nobody speaks"),
        column(
            "nonspeech_s",
            pa.float32(),
            "Sound that is no speech: music, tones, noise; summed over the channels, as in recordings",
        ),
        column(
            "dominant_emotion",
            pa.string(),
            "The emotion with the highest mean probability over the customer's speech",
            null_when=NO_SPEECH,
        ),
        column(
            "negative_share",
            pa.float32(),
            f"Negative mood (sad, angry, fearful, disgusted): {_SHARE}",
            null_when=NO_SPEECH,
        ),
        column(
            "neutral_share",
            pa.float32(),
            f"Neutral mood (neutral, calm, bored, sleepy): {_SHARE}",
            null_when=NO_SPEECH,
        ),
        column("positive_share", pa.float32(), f"Positive mood (happy, amused): {_SHARE}", null_when=NO_SPEECH),
        column(
            "mood_start",
            pa.float32(),
            f"Mean valence of the first {d.MOOD_EDGE_SHARE:.0%} of the customer's speech, at least "
            f"{d.MOOD_EDGE_MIN_S:.0f} s, -1 to 1",
            null_when=NO_EDGES,
        ),
        column("mood_end", pa.float32(), "The same of the last part", null_when=NO_EDGES),
        column("mood_change", pa.float32(), "mood_end - mood_start, -2 to 2", null_when=NO_EDGES),
        *(
            column(
                f"mood_q{quarter}",
                pa.float32(),
                f"Mean valence of the customer's speech in quarter {quarter} of the call's time, -1 to 1",
                null_when="no speech of the customer was classified in it",
            )
            for quarter in (1, 2, 3, 4)
        ),
        column(
            "anger_s",
            pa.float32(),
            "Customer's speech weighted by the probability of anger",
            null_when=f"{NO_SPEECH}, or the model does not know anger",
        ),
        column(
            "anger_peak",
            pa.float32(),
            f"Highest mean probability of anger over {d.ANGER_PEAK_WINDOW_S:.0f} s of the customer's speech "
            f"in a row, 0 to 1",
            null_when=f"{SHORT}, or the model does not know anger",
        ),
        column(
            "escalated",
            pa.bool_(),
            f"The mood fell by {-d.ESCALATED_MOOD_CHANGE:.2f} and more and anger_peak is "
            f"{d.ESCALATED_ANGER_PEAK:.2f} and more",
            null_when="mood_change or anger_peak is null",
        ),
        column(
            "recovered",
            pa.bool_(),
            f"mood_start is {d.RECOVERED_MOOD_START:.2f} and less and the mood rose by "
            f"{d.RECOVERED_MOOD_CHANGE:.2f} and more",
            null_when="mood_change is null",
        ),
        column(
            "satisfaction_index",
            pa.float32(),
            "What the customer's speech says of the customer's satisfaction, 0 to 100; 60 is neutral "
            "throughout "
            "(docs/satisfaction-index.md)",
            null_when=SHORT,
        ),
        column("satisfaction_low", pa.float32(), "Lower end of the index's 90% interval", null_when=SHORT),
        column("satisfaction_high", pa.float32(), "Upper end of the index's 90% interval", null_when=SHORT),
        column("index_version", pa.int32(), "Version of the index's formula"),
        column(
            "csat_survey",
            pa.float32(),
            "Score that the customer gave in a survey, on the survey's own scale (surveys)",
            null_when="no answer of the customer is known",
        ),
        column(
            "csat_predicted",
            pa.float32(),
            "Survey score that the call's features lead one to expect, of a customer who answers",
            null_when=NO_SURVEY,
        ),
        column(
            "csat_low", pa.float32(), "Lower end of the interval that has 90% of its probability", null_when=NO_SURVEY
        ),
        column("csat_high", pa.float32(), "Upper end of it", null_when=NO_SURVEY),
        column(
            "review_reasons",
            pa.list_(pa.string()),
            "Why the call stands out, most pressing first; empty if it does not: "
            + "; ".join(f"{code}: {words}" for code, words in d.REVIEW_REASONS.items()),
        ),
        column("model_id", pa.string(), "The model: name, version, start of its hash", null_when=NO_SPEECH),
        run_id(),
    ],
    key=("call_date", "contact_id"),
    sort=("contact_id", "started_at"),
)
