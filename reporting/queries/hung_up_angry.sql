-- Question: Do angry customers hang up, and where?
-- Reading: of the calls with an anger_peak of 0.5 and more, and of the others, the share that the customer ended.
-- disconnect_reason is the telephone system's word; CUSTOMER_DISCONNECT is Amazon Connect's.
SELECT c.queue, count(*) FILTER (c.anger_peak >= 0.5) AS angry_calls,
    round(avg((k.disconnect_reason = 'CUSTOMER_DISCONNECT')::int) FILTER (c.anger_peak >= 0.5), 3) AS angry_hung_up,
    round(avg((k.disconnect_reason = 'CUSTOMER_DISCONNECT')::int) FILTER (c.anger_peak < 0.5), 3) AS others_hung_up
FROM calls c JOIN contacts k USING (call_date, contact_id)
WHERE c.anger_peak IS NOT NULL AND k.disconnect_reason IS NOT NULL
GROUP BY c.queue
HAVING count(*) FILTER (c.anger_peak >= 0.5) >= 5 AND count(*) FILTER (c.anger_peak < 0.5) >= 5
ORDER BY c.queue
