-- Question: Which subjects make customers angry?
-- Reading: needs the contact attribute `topic` (allow it in CALLMOOD_ATTRIBUTES); without it all calls are in one row.
-- difference is to the mean of all calls.
WITH topics AS (
    SELECT k.attributes['topic'] AS topic, c.anger_peak, c.negative_share, c.satisfaction_index AS index
    FROM calls c JOIN contacts k USING (call_date, contact_id)
    WHERE c.satisfaction_index IS NOT NULL
)
SELECT topic, count(*) AS calls, round(avg(anger_peak), 3) AS anger_peak,
    round(avg(negative_share), 3) AS negative_share, round(avg(index), 1) AS index,
    round(avg(index) - (SELECT avg(index) FROM topics), 1) AS difference
FROM topics
GROUP BY topic HAVING count(*) >= 5
ORDER BY topic
