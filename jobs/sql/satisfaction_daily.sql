-- satisfaction_daily: counts and sums of the day's calls in total, by queue, by team and, if asked for, by agent.
-- Sums are taken over decimals, so that they do not depend on the order of the calls.
WITH expected AS (
    SELECT coalesce(k.contact_id, r.contact_id, r.source_uri) AS expected_id, k.queue, k.team, k.agent_id,
        c.contact_id IS NOT NULL AS scored,
        CAST(c.satisfaction_index AS DECIMAL(9, 2)) AS satisfaction_index,
        CAST(IF(c.satisfaction_index IS NULL, NULL, c.negative_share) AS DECIMAL(9, 6)) AS negative_share,
        CAST(c.mood_change AS DECIMAL(9, 4)) AS mood_change,
        CAST(c.escalated AS INT) AS escalated,
        CAST(c.recovered AS INT) AS recovered
    FROM contacts k
    FULL OUTER JOIN recordings r ON r.contact_id = k.contact_id
    LEFT JOIN calls c ON c.source_uri = r.source_uri
    WHERE k.expects_recording OR r.source_uri IS NOT NULL
),
scoped AS (
    SELECT 'total' AS scope, NULL AS queue, NULL AS team, NULL AS agent_id, e.* EXCEPT (queue, team, agent_id)
    FROM expected e
    UNION ALL
    SELECT 'queue', queue, NULL, NULL, e.* EXCEPT (queue, team, agent_id) FROM expected e
    UNION ALL
    SELECT 'team', NULL, team, NULL, e.* EXCEPT (queue, team, agent_id) FROM expected e
    UNION ALL
    SELECT 'agent', NULL, NULL, agent_id, e.* EXCEPT (queue, team, agent_id) FROM expected e WHERE :by_agent
),
-- The total is there on a day without a call, too.
scopes AS (
    SELECT 'total' AS scope, NULL AS queue, NULL AS team, NULL AS agent_id
    UNION
    SELECT scope, queue, team, agent_id FROM scoped
),
sums AS (
    SELECT s.scope, s.queue, s.team, s.agent_id,
        count(DISTINCT e.expected_id) AS contacts_expected,
        count_if(e.scored) AS calls_scored,
        count(e.satisfaction_index) AS calls_indexed,
        count(e.mood_change) AS calls_with_mood_change,
        CAST(coalesce(sum(e.satisfaction_index), 0) AS DOUBLE) AS index_sum,
        CAST(coalesce(sum(e.satisfaction_index * e.satisfaction_index), 0) AS DOUBLE) AS index_sumsq,
        try_divide(CAST(sum(e.negative_share) AS DOUBLE), count(e.satisfaction_index)) AS negative_share,
        try_divide(CAST(sum(e.mood_change) AS DOUBLE), count(e.mood_change)) AS mood_change_mean,
        avg(e.escalated) AS escalated_share,
        avg(e.recovered) AS recovered_share
    FROM scopes s LEFT JOIN scoped e
        ON e.scope = s.scope AND e.queue <=> s.queue AND e.team <=> s.team AND e.agent_id <=> s.agent_id
    GROUP BY s.scope, s.queue, s.team, s.agent_id
),
means AS (
    SELECT *,
        try_divide(index_sum, calls_indexed) AS index_mean,
        -- Half the interval: Student's t times the standard error of the mean.
        t.quantile * sqrt(try_divide(
            greatest(index_sumsq - try_divide(index_sum * index_sum, calls_indexed), 0),
            calls_indexed * (calls_indexed - 1)
        )) AS index_half
    FROM sums LEFT JOIN t_quantiles t ON t.degrees_of_freedom = least(calls_indexed - 1, :max_degrees_of_freedom)
)

SELECT :call_date AS call_date, scope, queue, team, agent_id,
    contacts_expected, calls_scored, calls_indexed, calls_with_mood_change, index_sum, index_sumsq,
    round(index_mean, 6) AS index_mean,
    IF(calls_indexed < 2, NULL, round(greatest(index_mean - index_half, 0), 6)) AS index_low,
    IF(calls_indexed < 2, NULL, round(least(index_mean + index_half, 100), 6)) AS index_high,
    round(negative_share, 6) AS negative_share,
    round(escalated_share, 6) AS escalated_share,
    round(recovered_share, 6) AS recovered_share,
    round(mood_change_mean, 6) AS mood_change_mean,
    round(try_divide(calls_scored, contacts_expected), 6) AS coverage
FROM means
ORDER BY scope, queue, team, agent_id
