-- Question: Do calls score differently by how they were recorded?
-- Reading: customers do not choose a codec. An index or confidence that differs by one says that the model hears it
-- differently: compare queues only where they are recorded alike.
SELECT r.channel_kind, r.codec, r.sample_rate_hz, count(*) AS calls, round(avg(c.satisfaction_index), 1) AS index,
    round(stddev_samp(c.satisfaction_index) / sqrt(count(*)), 1) AS se, round(avg(c.anger_peak), 2) AS anger_peak
FROM calls c JOIN recordings r ON r.call_date = c.call_date AND r.source_uri = c.source_uri
WHERE c.satisfaction_index IS NOT NULL
GROUP BY ALL HAVING count(*) >= 5
ORDER BY calls DESC, r.codec
