"""The definitions by which calls are judged: every threshold and the satisfaction index's formula, once.

Code and documentation take them from here; docs/satisfaction-index.md explains the index. The moods of
emotions and the circumplex are `ser_model.taxonomy`'s. Computes nothing.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from ser_model.taxonomy import EMOTIONS, MOOD, VALENCE_AROUSAL

# Mood

MIN_CUSTOMER_SPEECH_S: Final = 10.0
"""Classified customer speech that the satisfaction index needs; it is null under it."""

MOOD_EDGE_SHARE: Final = 0.2
"""mood_start and mood_end are of this share of the customer's classified speech, from either end."""

MOOD_EDGE_MIN_S: Final = 6.0
"""Each of the two has at least this much speech; where the call has not twice as much, both are null."""

# Anger

ANGER_PEAK_WINDOW_S: Final = 10.0
"""anger_peak is the highest mean p_angry over this much customer speech in a row, agent's turns left out."""

# Talk

INTERRUPTION_LEAD_S: Final = 0.5
"""An interruption starts at least this long before the other side's turn ends, and goes on after it."""

BACK_CHANNEL_S: Final = 1.0
"""A turn shorter than this ("mm-hm", "right") interrupts nobody."""

# Arcs

ESCALATED_MOOD_CHANGE: Final = -0.30
"""escalated: mood_change is this or lower ..."""

ESCALATED_ANGER_PEAK: Final = 0.50
"""... and anger_peak is this or higher: the mood falls and anger is sustained."""

RECOVERED_MOOD_START: Final = -0.15
"""recovered: mood_start is this or lower ..."""

RECOVERED_MOOD_CHANGE: Final = 0.30
"""... and mood_change is this or higher: a bad start, and an end that is clearly better."""

# Reasons to listen to a call

SUSTAINED_ANGER_PEAK: Final = 0.60
"""review reason sustained_anger: anger_peak is this or higher."""

MOOD_FALL: Final = -0.40
"""review reason mood_fall: mood_change is this or lower, angry or not."""

LONG_SILENCE_S: Final = 30.0
"""review reason long_silence: longest_silence_s is this or longer."""

LOW_SATISFACTION: Final = 35.0
"""review reason low_satisfaction: satisfaction_index is this or lower."""

MANY_INTERRUPTIONS: Final = 5
"""review reason many_interruptions: both sides together interrupt this often or more."""

REVIEW_REASONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "sustained_anger": f"anger of {SUSTAINED_ANGER_PEAK} and more over {ANGER_PEAK_WINDOW_S:.0f} s of speech",
        "escalated": "the mood fell and anger was sustained",
        "mood_fall": f"the mood fell by {-MOOD_FALL} and more from the call's start to its end",
        "low_satisfaction": f"a satisfaction index of {LOW_SATISFACTION:.0f} and less",
        "long_silence": f"nobody spoke for {LONG_SILENCE_S:.0f} s and more",
        "many_interruptions": f"{MANY_INTERRUPTIONS} interruptions and more",
    }
)
"""The codes in calls.review_reasons in their order, most pressing first, each in words."""

# The satisfaction index

INDEX_VERSION: Final = 1
"""Of the formula below: raised with every change of it."""

INDEX_NEUTRAL: Final = 60.0
"""The index of a call that is neutral throughout."""

INDEX_MEAN_WEIGHT: Final = 20.0
"""Points for the mean feeling over the customer's speech, from -1 to 1."""

INDEX_END_WEIGHT: Final = 20.0
"""Points for the mean feeling at the end, over the speech of mood_end."""

INDEX_NEGATIVE_WEIGHT: Final = 10.0
"""Points taken off for the share of negative speech, from 0 to 1."""

INDEX_ANGER_WEIGHT: Final = 10.0
"""Points taken off for the anger peak, from 0 to 1."""

INDEX_RELIEF: Final = 0.5
"""The part of the anger peak's points that a good end gives back."""

INDEX_RELIEF_FROM: Final = -0.2
"""The feeling at the end from which on it begins to give back ..."""

INDEX_RELIEF_TO: Final = 0.2
"""... and from which on it gives back all of that part."""

INDEX_FEELING: Final[Mapping[str, float]] = MappingProxyType(
    {emotion: -1.0 if emotion == "angry" else VALENCE_AROUSAL[emotion][0] for emotion in EMOTIONS}
)
"""The feeling that the index gives each emotion: its valence, but -1 for anger.

Anger is what a customer feels about the service; with the lowest value of all, no speech that is taken for
angrier can raise the index (angry is not the lowest of the circumplex's valences).
"""

INDEX_INTERVAL_Z: Final = 1.6448536269514722
"""Standard deviations on each side of satisfaction_low and satisfaction_high: 90% of a normal law."""

INDEX_SEGMENT_CORRELATION: Final = 0.3
"""Assumed correlation of the classifier's errors on two segments of one call (one voice, one line).

With 0 the interval would shrink with every further segment toward nothing; with 1 not at all.
"""

DAILY_CONFIDENCE: Final = 0.95
"""Confidence of satisfaction_daily's interval of the mean index."""

NEGATIVE_EMOTIONS: Final = tuple(emotion for emotion in EMOTIONS if MOOD[emotion] == "negative")
POSITIVE_EMOTIONS: Final = tuple(emotion for emotion in EMOTIONS if MOOD[emotion] == "positive")
NEUTRAL_EMOTIONS: Final = tuple(emotion for emotion in EMOTIONS if MOOD[emotion] == "neutral")
