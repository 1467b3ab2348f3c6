-- Question: How satisfied are customers by how long they were on hold?
-- Reading: a hold has reasons of its own, such as a hard question: what goes with it is not all its doing. At equal
-- queue and hour, `make why WHAT=price` compares.
SELECT CASE
        WHEN k.hold_count IS NULL THEN 'not recorded'
        WHEN k.hold_count = 0 THEN '0 no hold'
        WHEN k.hold_s < 30 THEN '1 under 30 s'
        WHEN k.hold_s < 60 THEN '2 30 s to 1 min'
        WHEN k.hold_s < 180 THEN '3 1 to 3 min'
        ELSE '4 3 min and more'
    END AS hold,
    count(*) AS calls, round(avg(c.satisfaction_index), 1) AS index, round(avg(c.anger_peak), 2) AS anger_peak
FROM calls c JOIN contacts k USING (call_date, contact_id)
WHERE c.satisfaction_index IS NOT NULL
GROUP BY hold HAVING count(*) >= 5
ORDER BY hold
