-- Question: Are customers angrier after a hold than before it, in the same call?
-- Reading: anger is the mean probability of anger in the customer's speech, 0 to 1; change is the mean over calls of
-- after less before. Calls without speech on both sides of their first hold are left out.
WITH first_hold AS (
    SELECT call_date, contact_id, min(start_s) AS start_s, arg_min(end_s, start_s) AS end_s
    FROM call_events WHERE kind = 'hold' GROUP BY ALL
),
sides AS (
    SELECT e.call_date, e.contact_id,
        sum(e.p_angry * (e.end_s - e.start_s)) FILTER (e.end_s <= h.start_s)
            / sum(e.end_s - e.start_s) FILTER (e.end_s <= h.start_s) AS before,
        sum(e.p_angry * (e.end_s - e.start_s)) FILTER (e.start_s >= h.end_s)
            / sum(e.end_s - e.start_s) FILTER (e.start_s >= h.end_s) AS after
    FROM emotion_log e JOIN first_hold h USING (call_date, contact_id)
    WHERE e.role = 'customer' AND e.p_angry IS NOT NULL
    GROUP BY ALL
)
SELECT c.queue, count(*) AS calls, round(avg(before), 3) AS anger_before, round(avg(after), 3) AS anger_after,
    round(avg(after - before), 3) AS change, round(stddev_samp(after - before) / sqrt(count(*)), 3) AS se
FROM sides JOIN calls c USING (call_date, contact_id)
WHERE before IS NOT NULL AND after IS NOT NULL
GROUP BY c.queue HAVING count(*) >= 5
ORDER BY c.queue
