-- Question: Which subjects bring up which emotions?
-- Reading: while a call is about the topic (CALLMOOD_TOPICS, docs/records.md), a call counting once; anger and joy are mean
-- probabilities of angry and of happy or amused, 0 to 1. more_anger is against the same calls as a whole: whom everything
-- makes angry does not count for the subject.
SELECT e.topic, count(*) AS calls, round(avg(e.p_angry), 3) AS anger,
    round(avg(e.p_angry - c.anger_s / c.customer_talk_s), 3) AS more_anger,
    round(avg(coalesce(e.p_sad, 0)), 3) AS sadness, round(avg(coalesce(e.p_fearful, 0)), 3) AS fear,
    round(avg(coalesce(e.p_happy, 0) + coalesce(e.p_amused, 0)), 3) AS joy,
    round(avg(e.negative_share), 3) AS negative_share, round(avg(e.valence), 3) AS valence
FROM topic_emotions e JOIN calls c USING (call_date, contact_id)
WHERE e.speech_s >= 3 AND c.satisfaction_index IS NOT NULL
GROUP BY topic HAVING count(*) >= 5
ORDER BY anger DESC, topic
