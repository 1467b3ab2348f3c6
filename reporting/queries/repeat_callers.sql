-- Question: Are customers who call again within 7 days less satisfied than those who call once?
-- Reading: a call is a repeat where the same customer_key called up to 7 days before, in another contact chain. Calls
-- without a customer_key are left out. The first 7 days of the tables have too few repeats, as nothing is before them.
WITH known AS (
    SELECT c.satisfaction_index AS index, c.anger_peak, c.mood_start, k.customer_key, k.started_at,
        coalesce(k.initial_contact_id, k.contact_id) AS chain
    FROM calls c JOIN contacts k USING (call_date, contact_id)
    WHERE k.customer_key IS NOT NULL AND c.satisfaction_index IS NOT NULL
),
placed AS (
    SELECT *,
        lag(started_at) OVER earlier >= started_at - INTERVAL 7 DAYS AND lag(chain) OVER earlier <> chain AS again
    FROM known
    WINDOW earlier AS (PARTITION BY customer_key ORDER BY started_at)
)
SELECT coalesce(again, false) AS called_again, count(*) AS calls, round(avg(index), 1) AS index,
    round(avg(mood_start), 2) AS mood_start, round(avg(anger_peak), 2) AS anger_peak
FROM placed
GROUP BY called_again HAVING count(*) >= 5
ORDER BY called_again
