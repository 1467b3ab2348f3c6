-- Question: How satisfied are customers by how long they waited in the queue?
-- Reading: mean index and mood at the start of the call, by minutes of wait. What waiting costs at equal queue and hour,
-- with an interval, says `make why WHAT=price`.
SELECT CASE
        WHEN k.queue_wait_s IS NULL THEN 'in no queue'
        WHEN k.queue_wait_s < 30 THEN '0 under 30 s'
        WHEN k.queue_wait_s < 60 THEN '1 30 s to 1 min'
        WHEN k.queue_wait_s < 120 THEN '2 1 to 2 min'
        WHEN k.queue_wait_s < 300 THEN '3 2 to 5 min'
        ELSE '4 5 min and more'
    END AS wait,
    count(*) AS calls, round(avg(c.satisfaction_index), 1) AS index, round(avg(c.mood_start), 2) AS mood_start,
    round(avg(c.anger_peak), 2) AS anger_peak
FROM calls c JOIN contacts k USING (call_date, contact_id)
WHERE c.satisfaction_index IS NOT NULL
GROUP BY wait HAVING count(*) >= 5
ORDER BY wait
