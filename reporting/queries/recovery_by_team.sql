-- Question: Of the customers who started badly, how many left well, by team?
-- Reading: bad is a mood_start of -0.15 and less; recovered means that it rose by 0.30 and more. The interval is
-- Wilson's, 95%. Teams differ in their calls: `make why WHAT=recovery` says what was to be expected.
WITH began_badly AS (
    SELECT team, count(*) AS calls, avg(recovered::int) AS share
    FROM calls WHERE mood_start <= -0.15 AND recovered IS NOT NULL
    GROUP BY team HAVING count(*) >= 5
)
SELECT team, calls, round(share, 3) AS recovered,
    round((share + 1.92 / calls - 1.96 * sqrt((share * (1 - share) + 0.96 / calls) / calls)) / (1 + 3.84 / calls), 3)
        AS low,
    round((share + 1.92 / calls + 1.96 * sqrt((share * (1 - share) + 0.96 / calls) / calls)) / (1 + 3.84 / calls), 3)
        AS high
FROM began_badly
ORDER BY team
