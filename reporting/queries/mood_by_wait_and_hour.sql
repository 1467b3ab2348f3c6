-- Question: Is a wait worse at some hours of the day?
-- Reading: a row an hour (local time); index_short and index_long are the means of those who waited under and over two
-- minutes. A difference that is the same at every hour is the wait's, one that is not is the hour's as well.
SELECT k.local_hour, count(*) AS calls, round(avg(k.queue_wait_s)) AS wait_s,
    round(avg(c.satisfaction_index) FILTER (k.queue_wait_s < 120), 1) AS index_short,
    round(avg(c.satisfaction_index) FILTER (k.queue_wait_s >= 120), 1) AS index_long,
    round(avg(c.mood_start), 2) AS mood_start
FROM calls c JOIN contacts k USING (call_date, contact_id)
WHERE c.satisfaction_index IS NOT NULL AND k.queue_wait_s IS NOT NULL
GROUP BY k.local_hour
HAVING count(*) FILTER (k.queue_wait_s < 120) >= 5 AND count(*) FILTER (k.queue_wait_s >= 120) >= 5
ORDER BY k.local_hour
