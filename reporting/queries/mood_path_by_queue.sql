-- Question: How does the mood go through a call, by queue?
-- Reading: mean valence by quarter of the call, -1 to 1. A path that falls in the third quarter points to what happens
-- there; means of quarters are over the calls in which the customer speaks in them.
SELECT queue, count(*) AS calls, round(avg(mood_q1), 3) AS q1, round(avg(mood_q2), 3) AS q2,
    round(avg(mood_q3), 3) AS q3, round(avg(mood_q4), 3) AS q4, round(avg(mood_change), 3) AS change
FROM calls WHERE satisfaction_index IS NOT NULL
GROUP BY queue HAVING count(*) >= 5
ORDER BY queue
