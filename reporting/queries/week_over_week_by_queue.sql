-- Question: How does each queue's satisfaction compare with the week before?
-- Reading: change is in points of the index; se is its standard error as if calls were independent, so a change under
-- two of it is no news. Customers who call twice and many comparisons are in `make figures`.
WITH weeks AS (
    SELECT date_trunc('week', call_date)::date AS week, queue, count(*) AS calls, avg(satisfaction_index) AS index,
        var_samp(satisfaction_index) / count(*) AS variance
    FROM calls WHERE satisfaction_index IS NOT NULL
    GROUP BY ALL HAVING count(*) >= 5
)
SELECT n.week, n.queue, n.calls, round(n.index, 1) AS index, round(n.index - b.index, 1) AS change,
    round(sqrt(n.variance + b.variance), 1) AS se
FROM weeks n LEFT JOIN weeks b ON b.queue IS NOT DISTINCT FROM n.queue AND b.week = n.week - 7
ORDER BY n.week DESC, n.queue
