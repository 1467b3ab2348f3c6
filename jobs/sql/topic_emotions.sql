-- topic_emotions: a row a scored call and topic. A topic's stretches in a call do not overlap (jobs/sidecars.py), so that
-- no speech counts twice in it; of several topics at once, it counts in each. The expressions in braces are those of
-- calls.sql.
WITH told AS (
    SELECT t.call_date, t.contact_id, t.topic, t.start_s, t.end_s
    FROM topics t LEFT SEMI JOIN (SELECT contact_id FROM recordings WHERE status = 'scored') r
        ON r.contact_id = t.contact_id
),
lengths AS (
    SELECT call_date, contact_id, topic, sum(end_s - start_s) AS topic_s FROM told GROUP BY call_date, contact_id, topic
),
spoken AS (
    SELECT t.contact_id, t.topic, least(l.end_s, t.end_s) - greatest(l.start_s, t.start_s) AS length_s,
        valence, {probabilities}, {positive} AS positive, {neutral} AS neutral, {negative} AS negative
    FROM told t
    JOIN emotion_log l ON l.contact_id = t.contact_id AND l.start_s < t.end_s AND l.end_s > t.start_s
    WHERE l.classified AND l.role IN ('customer', 'mixed')
),
heard AS (
    SELECT contact_id, topic,
        sum(length_s) AS speech_s,
        array_max(array({emotion_means})).emotion AS dominant_emotion,
        sum(negative * length_s) / sum(length_s) AS negative_share,
        sum(neutral * length_s) / sum(length_s) AS neutral_share,
        sum(positive * length_s) / sum(length_s) AS positive_share,
        sum(valence * length_s) / sum(length_s) AS valence,
        {mean_probabilities}
    FROM spoken
    GROUP BY contact_id, topic
)

SELECT n.call_date, n.contact_id, n.topic,
    round(n.topic_s, 3) AS topic_s,
    round(coalesce(h.speech_s, 0), 3) AS speech_s,
    h.dominant_emotion,
    round(h.negative_share, 6) AS negative_share,
    round(h.neutral_share, 6) AS neutral_share,
    round(h.positive_share, 6) AS positive_share,
    round(h.valence, 6) AS valence,
    {probabilities},
    :run_id AS run_id
FROM lengths n LEFT JOIN heard h ON h.contact_id = n.contact_id AND h.topic = n.topic
