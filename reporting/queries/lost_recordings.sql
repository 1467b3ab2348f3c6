-- Question: On which days did a queue lose recordings?
-- Reading: coverage is calls scored of contacts expected; usual is the queue's median over all its days. A day is listed
-- where it is 10 points below and has 20 contacts and more: what is said of the queue then is said of a part of it.
WITH days AS (
    SELECT call_date, queue, contacts_expected, calls_scored, coverage,
        median(coverage) OVER (PARTITION BY queue) AS usual
    FROM satisfaction_daily WHERE scope = 'queue' AND contacts_expected >= 20
)
SELECT queue, call_date, contacts_expected, calls_scored, round(coverage, 3) AS coverage, round(usual, 3) AS usual
FROM days WHERE coverage <= usual - 0.1
ORDER BY queue, call_date
