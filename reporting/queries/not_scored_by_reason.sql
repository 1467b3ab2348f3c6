-- Question: Which contacts that should have been scored were not, why, and in which queues?
-- Reading: share is of all contacts of the queue that expect a recording, without those who opted out. no_recording
-- means that none was found: a queue whose share of it jumps has lost its recordings.
WITH expected AS (
    SELECT k.call_date, k.queue,
        CASE
            WHEN r.status = 'scored' THEN 'scored'
            WHEN r.status IS NULL THEN 'no_recording'
            ELSE r.reason_code
        END AS outcome
    FROM contacts k LEFT JOIN recordings r ON r.call_date = k.call_date AND r.contact_id = k.contact_id
    WHERE k.expects_recording AND r.reason_code IS DISTINCT FROM 'opted_out'
    -- Of several recordings of one contact, the one that was scored, if any.
    QUALIFY row_number() OVER (
        PARTITION BY k.call_date, k.contact_id ORDER BY (r.status = 'scored') DESC NULLS LAST, r.source_uri
    ) = 1
),
totals AS (SELECT queue, count(*) AS contacts FROM expected GROUP BY queue)
SELECT e.queue, e.outcome, count(*) AS contacts, any_value(t.contacts) AS of_contacts,
    round(count(*) / any_value(t.contacts), 4) AS share
FROM expected e JOIN totals t ON t.queue IS NOT DISTINCT FROM e.queue
WHERE e.outcome <> 'scored'
GROUP BY e.queue, e.outcome
ORDER BY e.queue, contacts DESC, e.outcome
