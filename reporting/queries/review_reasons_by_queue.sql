-- Question: Why do calls stand out, by queue?
-- Reading: share is of the queue's scored calls that have the reason; a call may have several. What each means is in
-- docs/satisfaction-index.md.
WITH totals AS (SELECT queue, count(*) AS calls FROM calls GROUP BY queue HAVING count(*) >= 5),
reasons AS (SELECT queue, unnest(review_reasons) AS reason FROM calls)
SELECT t.queue, r.reason, count(*) AS flagged, any_value(t.calls) AS of_calls,
    round(count(*) / any_value(t.calls), 4) AS share
FROM reasons r JOIN totals t ON t.queue IS NOT DISTINCT FROM r.queue
GROUP BY t.queue, r.reason HAVING count(*) >= 5
ORDER BY t.queue, flagged DESC, r.reason
