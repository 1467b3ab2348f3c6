-- Question: Do calls with many interruptions go worse?
-- Reading: interruptions of both sides together. Angry people interrupt: it may be the mood's doing as well.
SELECT CASE
        WHEN customer_interruptions + agent_interruptions = 0 THEN '0'
        WHEN customer_interruptions + agent_interruptions <= 2 THEN '1 to 2'
        WHEN customer_interruptions + agent_interruptions <= 4 THEN '3 to 4'
        ELSE '5 and more'
    END AS interruptions,
    count(*) AS calls, round(avg(satisfaction_index), 1) AS index, round(avg(mood_change), 3) AS mood_change
FROM calls WHERE satisfaction_index IS NOT NULL AND customer_interruptions IS NOT NULL
GROUP BY interruptions HAVING count(*) >= 5
ORDER BY interruptions
