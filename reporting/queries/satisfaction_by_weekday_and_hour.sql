-- Question: When are customers least satisfied?
-- Reading: a row a weekday (1 is Monday) and local hour. Hours with few calls move much: look at se before you act.
SELECT isodow(c.call_date) AS weekday, k.local_hour, count(*) AS calls, round(avg(c.satisfaction_index), 1) AS index,
    round(stddev_samp(c.satisfaction_index) / sqrt(count(*)), 1) AS se, round(avg(k.queue_wait_s)) AS wait_s
FROM calls c JOIN contacts k USING (call_date, contact_id)
WHERE c.satisfaction_index IS NOT NULL
GROUP BY ALL HAVING count(*) >= 5
ORDER BY weekday, k.local_hour
