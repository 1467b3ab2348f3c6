-- Customers to win back, one row a customer, of the calls from $first to $last: those whose last call ended badly, and
-- those who called again within 7 days; of all these, who called last from $called_from on. Without customers of whom
-- any recording was skipped as opted_out, whenever.
WITH known AS (
    SELECT k.customer_key, c.contact_id, c.call_date, k.started_at, c.queue, c.satisfaction_index AS index, c.mood_end,
        c.review_reasons, coalesce(k.initial_contact_id, k.contact_id) AS chain
    FROM calls c JOIN contacts k ON k.call_date = c.call_date AND k.contact_id = c.contact_id
    WHERE c.call_date BETWEEN $first AND $last AND k.customer_key IS NOT NULL
        AND k.customer_key IN (SELECT customer_key FROM contacts WHERE call_date BETWEEN $called_from AND $last)
        AND k.customer_key NOT IN (
        SELECT o.customer_key
        FROM contacts o JOIN recordings r ON r.call_date = o.call_date AND r.contact_id = o.contact_id
        WHERE r.reason_code = 'opted_out' AND o.customer_key IS NOT NULL
    )
),
in_order AS (
    SELECT *,
        -- A transfer is one chain: it is no second call.
        coalesce(lag(chain) OVER earlier <> chain AND lag(started_at) OVER earlier >= started_at - INTERVAL 7 DAYS, false)
            AS again,
        avg(index) OVER (earlier ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS index_before,
        row_number() OVER (PARTITION BY customer_key ORDER BY started_at DESC, contact_id DESC) AS from_last
    FROM known
    WINDOW earlier AS (PARTITION BY customer_key ORDER BY started_at, contact_id)
),
judged AS (
    SELECT customer_key, arg_min(contact_id, from_last) AS contact_id, max(call_date) AS last_call,
        first(queue ORDER BY from_last) AS queue, first(index ORDER BY from_last) AS index,
        first(index_before ORDER BY from_last) AS index_before, count(*) AS calls,
        count(*) FILTER (again) AS calls_again,
        first(
            coalesce(mood_end <= $bad_mood, true) AND list_has_any(review_reasons, $bad_reasons) ORDER BY from_last
        ) AS ended_badly
    FROM in_order GROUP BY customer_key
)
SELECT customer_key, contact_id,
    array_to_string(list_filter([
        CASE WHEN ended_badly THEN 'ended_badly' END, CASE WHEN calls_again > 0 THEN 'called_again' END
    ], lambda reason: reason IS NOT NULL), ', ') AS reason,
    last_call, ($last::date - last_call) AS days_since, queue, round(index, 1) AS index,
    round(index - index_before, 1) AS trend, calls, calls_again
FROM judged
WHERE (ended_badly OR calls_again > 0) AND last_call >= $called_from
ORDER BY days_since, customer_key
