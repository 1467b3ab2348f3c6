-- Question: Does the index go with what customers say in the survey?
-- Reading: the mean survey score by tens of the index. Where it does not rise from row to row, do not read the index as
-- satisfaction on your calls.
SELECT 10 * floor(satisfaction_index / 10)::int AS index_from, count(*) AS answers,
    round(avg(csat_survey), 2) AS score, round(stddev_samp(csat_survey) / sqrt(count(*)), 2) AS se
FROM calls WHERE csat_survey IS NOT NULL AND satisfaction_index IS NOT NULL
GROUP BY index_from HAVING count(*) >= 5
ORDER BY index_from
