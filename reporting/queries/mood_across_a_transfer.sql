-- Question: What does a transfer do to the customer's mood?
-- Reading: mood_end of the call before the transfer against mood_start and index of the one after it, -1 to 1; by the
-- queue that the customer was transferred to.
SELECT a.queue AS queue, count(*) AS transfers, round(avg(b.mood_end), 3) AS mood_before,
    round(avg(a.mood_start), 3) AS mood_after, round(avg(a.mood_start - b.mood_end), 3) AS change,
    round(avg(b.satisfaction_index), 1) AS index_before, round(avg(a.satisfaction_index), 1) AS index_after
FROM contacts k
JOIN calls a ON a.call_date = k.call_date AND a.contact_id = k.contact_id
JOIN calls b ON b.contact_id = k.previous_contact_id AND b.call_date BETWEEN k.call_date - 1 AND k.call_date
WHERE a.mood_start IS NOT NULL AND b.mood_end IS NOT NULL
GROUP BY a.queue HAVING count(*) >= 5
ORDER BY a.queue
