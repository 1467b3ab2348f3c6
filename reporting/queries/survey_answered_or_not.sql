-- Question: Are the customers who answer the survey like those who do not?
-- Reading: the index of both, by queue. Where those who answer sound less satisfied, the survey's mean is too low for
-- all customers, and the other way round; `make why WHAT=silent` reweights it.
SELECT queue, count(*) AS calls, round(avg((csat_survey IS NOT NULL)::int), 3) AS answered_share,
    round(avg(satisfaction_index) FILTER (csat_survey IS NOT NULL), 1) AS index_answered,
    round(avg(satisfaction_index) FILTER (csat_survey IS NULL), 1) AS index_silent
FROM calls WHERE satisfaction_index IS NOT NULL
GROUP BY queue HAVING count(csat_survey) >= 5 AND count(*) - count(csat_survey) >= 5
ORDER BY queue
