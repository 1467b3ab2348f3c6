-- Question: Do customers get angry after a silence?
-- Reading: each piece of the customer's speech by how long nobody had spoken before it; anger is its mean probability,
-- 0 to 1. A silence may be a hold: take those away by their call_events where you have them.
WITH pieces AS (
    SELECT role, p_angry, start_s - max(end_s) OVER (
            PARTITION BY call_date, contact_id ORDER BY start_s, role
            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        ) AS silence_s
    FROM emotion_log
)
SELECT CASE
        WHEN silence_s < 1 THEN '0 under 1 s'
        WHEN silence_s < 4 THEN '1 1 to 4 s'
        WHEN silence_s < 10 THEN '2 4 to 10 s'
        ELSE '3 10 s and more'
    END AS silence,
    count(*) AS pieces, round(avg(p_angry), 3) AS anger
FROM pieces
WHERE role = 'customer' AND p_angry IS NOT NULL AND silence_s IS NOT NULL
GROUP BY silence HAVING count(*) >= 5
ORDER BY silence
