-- calls: a row a scored recording. The constants (:...) and what they mean are in schemas/definitions.py; the
-- expressions in braces are sums over the emotions of a mood (jobs/summary.py).
WITH
scored AS (
    SELECT contact_id, duration_s FROM recordings WHERE status = 'scored'
),
mono AS (
    SELECT DISTINCT contact_id FROM emotion_log WHERE role = 'mixed'
),
-- What the telephone system's events take away: in a pause nothing counts that is heard; in a hold the agent's side
-- is music and announcements, and so is a mono recording. The gaps between them, and all after the last, are left.

withheld AS (
    SELECT contact_id, role, start_s, end_s, max(end_s) OVER earlier AS withheld_until_s
    FROM call_events
    LATERAL VIEW explode(split(IF(kind = 'hold', 'agent,mixed', 'agent,customer,mixed'), ',')) AS role
    WHERE source = 'sidecar' AND kind IN ('hold', 'pause') AND end_s > start_s
    WINDOW earlier AS (
        PARTITION BY contact_id, role ORDER BY start_s, end_s ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
    )
),
counted AS (
    SELECT contact_id, role, coalesce(withheld_until_s, double('-infinity')) AS from_s, start_s AS until_s
    FROM withheld
    WHERE start_s > coalesce(withheld_until_s, double('-infinity'))
    UNION ALL
    SELECT contact_id, role, max(end_s), double('infinity') FROM withheld GROUP BY contact_id, role
),
-- Who spoke when. Pauses of the recording (digital silence, or events) stand in the same order as a role of their own.

segments AS (
    SELECT contact_id, role, turn_index, start_s, end_s FROM emotion_log DISTRIBUTE BY contact_id
),
whole_turns AS (
    SELECT contact_id, role, turn_index, min(start_s) AS start_s, max(end_s) AS end_s
    FROM segments
    GROUP BY contact_id, role, turn_index
),
turns AS (
    SELECT t.contact_id, t.role, greatest(t.start_s, n.from_s) AS start_s, least(t.end_s, n.until_s) AS end_s
    FROM whole_turns t LEFT JOIN counted n ON n.contact_id = t.contact_id AND n.role = t.role
    WHERE n.contact_id IS NULL OR (t.start_s < n.until_s AND t.end_s > n.from_s)
    UNION ALL
    SELECT e.contact_id, 'pause', e.start_s, least(e.end_s, r.duration_s)
    FROM call_events e JOIN scored r ON r.contact_id = e.contact_id
    WHERE e.kind = 'pause' AND e.end_s > e.start_s AND e.start_s < r.duration_s
),
-- The turns of one side do not overlap, so that the only turn of the other side that can be going on when a turn
-- starts is the other side's last one before it.
turns_in_order AS (
    SELECT *,
        end_s - start_s AS length_s,
        last(IF(role = 'agent', start_s, NULL), true) OVER earlier AS agent_start_s,
        last(IF(role = 'agent', end_s, NULL), true) OVER earlier AS agent_end_s,
        last(IF(role = 'customer', start_s, NULL), true) OVER earlier AS customer_start_s,
        last(IF(role = 'customer', end_s, NULL), true) OVER earlier AS customer_end_s,
        coalesce(max(end_s) OVER earlier, 0) AS covered_until_s
    FROM turns
    WINDOW earlier AS (PARTITION BY contact_id ORDER BY start_s, role ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
),
turns_with_other AS (
    SELECT *,
        CASE role WHEN 'customer' THEN agent_start_s WHEN 'agent' THEN customer_start_s END AS other_start_s,
        CASE role WHEN 'customer' THEN agent_end_s WHEN 'agent' THEN customer_end_s END AS other_end_s
    FROM turns_in_order
),
turns_judged AS (
    SELECT *,
        other_start_s < start_s
            AND round(other_end_s - start_s, 6) >= :interruption_lead_s
            AND end_s > other_end_s
            AND round(length_s, 6) >= :back_channel_s AS interrupts,
        -- The agent's first turn after the customer's last.
        IF(
            role = 'agent' AND customer_end_s <= start_s AND coalesce(agent_start_s < customer_end_s, true),
            start_s - customer_end_s,
            NULL
        ) AS response_gap_s
    FROM turns_with_other
),
exchange AS (
    SELECT contact_id,
        count_if(role = 'customer' AND interrupts) AS customer_interruptions,
        count_if(role = 'agent' AND interrupts) AS agent_interruptions,
        median(response_gap_s) AS median_response_gap_s,
        max(IF(role = 'pause', NULL, length_s)) AS longest_turn_s
    FROM turns_judged
    GROUP BY contact_id
),
-- Talk is counted by segments: the pauses within a turn are nobody's talk. Nor do the segments of one side overlap.
sounds AS (
    SELECT s.contact_id, s.role, greatest(s.start_s, n.from_s) AS start_s, least(s.end_s, n.until_s) AS end_s
    FROM segments s LEFT JOIN counted n ON n.contact_id = s.contact_id AND n.role = s.role
    WHERE n.contact_id IS NULL OR (s.start_s < n.until_s AND s.end_s > n.from_s)
    UNION ALL
    SELECT contact_id, role, start_s, end_s FROM turns WHERE role = 'pause'
),
sounds_in_order AS (
    SELECT *,
        max(IF(role = 'agent', end_s, NULL)) OVER earlier AS agent_end_s,
        max(IF(role = 'customer', end_s, NULL)) OVER earlier AS customer_end_s,
        coalesce(max(end_s) OVER earlier, 0) AS covered_until_s
    FROM sounds
    WINDOW earlier AS (PARTITION BY contact_id ORDER BY start_s, role ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
),
sounds_with_other AS (
    SELECT *, CASE role WHEN 'customer' THEN agent_end_s WHEN 'agent' THEN customer_end_s END AS other_end_s
    FROM sounds_in_order
),
talk AS (
    SELECT contact_id,
        sum(IF(role = 'customer', end_s - start_s, 0)) AS customer_talk_s,
        sum(IF(role = 'agent', end_s - start_s, 0)) AS agent_talk_s,
        sum(IF(other_end_s > start_s, least(end_s, other_end_s) - start_s, 0)) AS overlap_s,
        -- Silence before each segment or pause; what comes after the last is added below.
        sum(greatest(start_s - covered_until_s, 0)) AS silence_s,
        max(greatest(start_s - covered_until_s, 0)) AS longest_silence_s,
        max(end_s) AS covered_until_s
    FROM sounds_with_other
    GROUP BY contact_id
),

-- What the customer's classified speech shows (of mono recordings: the mixed speech).
-- from_s and until_s are a segment's place in this speech, from 0 to speech_s; start_s and end_s in the call.

speech_counted AS (
    SELECT l.*, r.duration_s, greatest(l.start_s, n.from_s) AS from_s, least(l.end_s, n.until_s) AS until_s
    FROM emotion_log l
    JOIN scored r ON r.contact_id = l.contact_id
    LEFT JOIN counted n ON n.contact_id = l.contact_id AND n.role = l.role
    WHERE l.classified AND l.role IN ('customer', 'mixed') AND l.end_s > l.start_s
        AND (n.contact_id IS NULL OR (l.start_s < n.until_s AND l.end_s > n.from_s))
),
speech AS (
    SELECT contact_id, turn_index, segment_index, from_s AS start_s, until_s AS end_s, until_s - from_s AS length_s,
        valence, model_id, {probabilities}, duration_s,
        {positive} AS positive, {neutral} AS neutral, {negative} AS negative,
        {feeling} AS feeling, {feeling_squared} AS feeling_squared, {feeling_negative} AS feeling_negative
    FROM speech_counted
),
speech_placed AS (
    SELECT *,
        sum(length_s) OVER (PARTITION BY contact_id) AS speech_s,
        sum(length_s) OVER (
            PARTITION BY contact_id ORDER BY start_s, turn_index, segment_index
            ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
        ) AS until_s
    FROM speech
),
speech_edges AS (
    SELECT *,
        until_s - length_s AS from_s,
        least(greatest(:mood_edge_share * speech_s, :mood_edge_min_s), speech_s) AS edge_s
    FROM speech_placed
),
-- The mean over a window of speech is highest where the window starts with a segment or ends with one. The segment
-- at the window's other end may reach beyond it: only its part inside counts.
speech_windows AS (
    SELECT *,
        sum(p_angry * length_s) OVER starting AS starting_anger_s,
        last(p_angry) OVER starting AS starting_last_p,
        last(until_s) OVER starting AS starting_last_until_s,
        sum(p_angry * length_s) OVER ending AS ending_anger_s,
        first(p_angry) OVER ending AS ending_first_p,
        first(from_s) OVER ending AS ending_first_from_s
    FROM speech_edges
    WINDOW
        starting AS (
            PARTITION BY contact_id ORDER BY from_s RANGE BETWEEN CURRENT ROW AND :anger_peak_window_s FOLLOWING
        ),
        ending AS (
            PARTITION BY contact_id ORDER BY until_s RANGE BETWEEN :anger_peak_window_s PRECEDING AND CURRENT ROW
        )
),
speech_peaks AS (
    SELECT *,
        IF(
            round(speech_s - from_s, 6) >= :anger_peak_window_s,
            starting_anger_s - starting_last_p * greatest(starting_last_until_s - from_s - :anger_peak_window_s, 0),
            NULL
        ) AS starting_window_anger_s,
        IF(
            round(until_s, 6) >= :anger_peak_window_s,
            ending_anger_s - ending_first_p * greatest(until_s - :anger_peak_window_s - ending_first_from_s, 0),
            NULL
        ) AS ending_window_anger_s,
        greatest(least(until_s, edge_s) - from_s, 0) AS in_start_s,
        greatest(until_s - greatest(from_s, speech_s - edge_s), 0) AS in_end_s
    FROM speech_windows
),
-- The index is linear in each segment's feeling and negativity: their points, and the variance of the points.
speech_points AS (
    SELECT *,
        :index_mean_weight * length_s / speech_s + :index_end_weight * in_end_s / edge_s AS feeling_points,
        :index_negative_weight * length_s / speech_s AS negative_points
    FROM speech_peaks
),
speech_spread AS (
    SELECT *,
        sqrt(greatest(
            feeling_points * feeling_points * (feeling_squared - feeling * feeling)
                + negative_points * negative_points * (negative - negative * negative)
                - 2 * feeling_points * negative_points * (feeling_negative - feeling * negative),
            0
        )) AS spread
    FROM speech_points
),
mood AS (
    SELECT contact_id,
        max(model_id) AS model_id,
        max(speech_s) AS speech_s,
        array_max(array({emotion_means})).emotion AS dominant_emotion,
        sum(positive * length_s) / max(speech_s) AS positive_share,
        sum(neutral * length_s) / max(speech_s) AS neutral_share,
        sum(negative * length_s) / max(speech_s) AS negative_share,
        sum(valence * in_start_s) / max(edge_s) AS mood_start,
        sum(valence * in_end_s) / max(edge_s) AS mood_end,
        {mood_quarters},
        sum(p_angry * length_s) AS anger_s,
        greatest(max(starting_window_anger_s), max(ending_window_anger_s)) / :anger_peak_window_s AS anger_peak,
        sum(feeling * length_s) / max(speech_s) AS feeling_mean,
        sum(feeling * in_end_s) / max(edge_s) AS feeling_end,
        sqrt(
            (1 - :index_segment_correlation) * sum(spread * spread)
                + :index_segment_correlation * sum(spread) * sum(spread)
        ) AS spread
    FROM speech_spread
    GROUP BY contact_id
),
-- Rounded here, so that flags and reasons follow from the published figures, whatever order sums were taken in.
measured AS (
    SELECT r.call_date, r.contact_id, r.source_uri, r.started_at, r.agent_id, r.duration_s, r.nonspeech_s,
        o.contact_id IS NOT NULL AS mixed,
        round(coalesce(t.customer_talk_s, 0), 3) AS customer_talk_s,
        round(coalesce(t.agent_talk_s, 0), 3) AS agent_talk_s,
        round(coalesce(t.overlap_s, 0), 3) AS overlap_s,
        coalesce(x.customer_interruptions, 0) AS customer_interruptions,
        coalesce(x.agent_interruptions, 0) AS agent_interruptions,
        round(x.median_response_gap_s, 3) AS median_response_gap_s,
        round(x.longest_turn_s, 3) AS longest_turn_s,
        round(
            coalesce(t.silence_s, 0) + greatest(r.duration_s - coalesce(t.covered_until_s, 0), 0), 3
        ) AS non_talk_s,
        round(
            greatest(coalesce(t.longest_silence_s, 0), r.duration_s - coalesce(t.covered_until_s, 0)), 3
        ) AS longest_silence_s,
        m.model_id, m.dominant_emotion,
        m.speech_s IS NOT NULL AND round(m.speech_s, 6) >= :min_customer_speech_s AS indexed,
        round(m.positive_share, 6) AS positive_share,
        round(m.neutral_share, 6) AS neutral_share,
        round(m.negative_share, 6) AS negative_share,
        IF(round(m.speech_s, 6) >= 2 * :mood_edge_min_s, round(m.mood_start, 4), NULL) AS mood_start,
        IF(round(m.speech_s, 6) >= 2 * :mood_edge_min_s, round(m.mood_end, 4), NULL) AS mood_end,
        round(m.mood_q1, 4) AS mood_q1, round(m.mood_q2, 4) AS mood_q2,
        round(m.mood_q3, 4) AS mood_q3, round(m.mood_q4, 4) AS mood_q4,
        round(m.anger_s, 3) AS anger_s,
        round(m.anger_peak, 4) AS anger_peak,
        m.feeling_mean, m.feeling_end, m.spread
    FROM recordings r
    LEFT JOIN mono o ON o.contact_id = r.contact_id
    LEFT JOIN talk t ON t.contact_id = r.contact_id
    LEFT JOIN exchange x ON x.contact_id = r.contact_id
    LEFT JOIN mood m ON m.contact_id = r.contact_id
    WHERE r.status = 'scored'
),
judged AS (
    SELECT *,
        round(mood_end - mood_start, 4) AS mood_change,
        greatest(least(
            (feeling_end - :index_relief_from) / (:index_relief_to - :index_relief_from), 1
        ), 0) AS relief
    FROM measured
),
indexed AS (
    SELECT *,
        round(
            :index_neutral
                + :index_mean_weight * feeling_mean
                + :index_end_weight * feeling_end
                - :index_negative_weight * negative_share
                - :index_anger_weight * coalesce(anger_peak, 0) * (1 - :index_relief * relief),
            2
        ) AS index_points
    FROM judged
),
flagged AS (
    SELECT *,
        IF(indexed, greatest(least(index_points, 100), 0), NULL) AS satisfaction_index,
        mood_change <= :escalated_mood_change AND anger_peak >= :escalated_anger_peak AS fell_in_anger,
        mood_start <= :recovered_mood_start AND mood_change >= :recovered_mood_change AS rose
    FROM indexed
)

SELECT f.call_date, f.contact_id, f.source_uri, f.started_at, k.queue, k.team,
    coalesce(k.agent_id, f.agent_id) AS agent_id, f.duration_s,
    IF(f.mixed, NULL, f.customer_talk_s) AS customer_talk_s,
    IF(f.mixed, NULL, f.agent_talk_s) AS agent_talk_s,
    f.non_talk_s, f.longest_silence_s,
    IF(f.mixed, NULL, f.overlap_s) AS overlap_s,
    IF(f.mixed, NULL, f.customer_interruptions) AS customer_interruptions,
    IF(f.mixed, NULL, f.agent_interruptions) AS agent_interruptions,
    f.median_response_gap_s, f.longest_turn_s, f.nonspeech_s, f.dominant_emotion,
    f.negative_share, f.neutral_share, f.positive_share,
    f.mood_start, f.mood_end, f.mood_change, f.mood_q1, f.mood_q2, f.mood_q3, f.mood_q4,
    f.anger_s, f.anger_peak,
    IF(f.mood_change IS NULL OR f.anger_peak IS NULL, NULL, f.fell_in_anger) AS escalated,
    f.rose AS recovered,
    f.satisfaction_index,
    IF(f.indexed, greatest(round(f.satisfaction_index - :index_interval_z * f.spread, 2), 0), NULL) AS satisfaction_low,
    IF(f.indexed, least(round(f.satisfaction_index + :index_interval_z * f.spread, 2), 100), NULL) AS satisfaction_high,
    :index_version AS index_version,
    s.score AS csat_survey, NULL AS csat_predicted, NULL AS csat_low, NULL AS csat_high,
    filter(
        array(
            IF(f.anger_peak >= :sustained_anger_peak, 'sustained_anger', NULL),
            IF(f.fell_in_anger, 'escalated', NULL),
            IF(f.mood_change <= :mood_fall, 'mood_fall', NULL),
            IF(f.satisfaction_index <= :low_satisfaction, 'low_satisfaction', NULL),
            IF(f.longest_silence_s >= :long_silence_s, 'long_silence', NULL),
            IF(
                NOT f.mixed AND f.customer_interruptions + f.agent_interruptions >= :many_interruptions,
                'many_interruptions',
                NULL
            )
        ),
        reason -> reason IS NOT NULL
    ) AS review_reasons,
    f.model_id, :run_id AS run_id
FROM flagged f
LEFT JOIN contacts k ON k.contact_id = f.contact_id
LEFT JOIN surveys s ON s.contact_id = f.contact_id
