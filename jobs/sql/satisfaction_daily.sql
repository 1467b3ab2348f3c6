-- satisfaction_daily: counts and sums of the day's calls in total, by queue, by team and, if asked for, by agent.
-- Sums are taken over decimals, so that they do not depend on the order of the calls. They are taken by customer first,
-- as the intervals need it (reporting.measures.CustomerSums); a contact without a customer's key is a customer of its own.
WITH expected AS (
    SELECT coalesce(k.contact_id, r.contact_id, r.source_uri) AS expected_id, k.queue, k.team,
        coalesce(k.customer_key, k.contact_id, r.contact_id, r.source_uri) AS customer,
        coalesce(k.agent_id, r.agent_id) AS agent_id,
        c.contact_id IS NOT NULL AS scored,
        CAST(c.satisfaction_index AS DECIMAL(9, 2)) AS satisfaction_index,
        CAST(IF(c.satisfaction_index IS NULL, NULL, c.negative_share) AS DECIMAL(9, 6)) AS negative_share,
        CAST(c.mood_change AS DECIMAL(9, 4)) AS mood_change,
        CAST(c.escalated AS INT) AS escalated,
        CAST(c.recovered AS INT) AS recovered
    FROM contacts k
    FULL OUTER JOIN recordings r ON r.contact_id = k.contact_id
    LEFT JOIN calls c ON c.source_uri = r.source_uri
    -- Nobody is to listen to a customer who opted out, so nothing is expected of the call.
    WHERE (k.expects_recording OR r.source_uri IS NOT NULL) AND coalesce(r.reason_code, '') <> 'opted_out'
),
-- Each contact counts in its scopes. A row that counts nothing stands for the total of a day without a call.
scoped AS (
    SELECT inline(filter(
            array(
                named_struct('scope', 'total', 'of_queue', NULL, 'of_team', NULL, 'of_agent_id', NULL),
                named_struct('scope', 'queue', 'of_queue', queue, 'of_team', NULL, 'of_agent_id', NULL),
                named_struct('scope', 'team', 'of_queue', NULL, 'of_team', team, 'of_agent_id', NULL),
                named_struct('scope', 'agent', 'of_queue', NULL, 'of_team', NULL, 'of_agent_id', agent_id)
            ),
            place -> :by_agent OR place.scope <> 'agent'
        )), *
    FROM expected
    UNION ALL
    SELECT 'total', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, false, NULL, NULL, NULL, NULL, NULL
),
by_customer AS (
    SELECT scope, of_queue, of_team, of_agent_id,
        count(DISTINCT expected_id) AS contacts,
        count_if(scored) AS scored,
        count(satisfaction_index) AS calls,
        count(mood_change) AS with_mood_change,
        sum(satisfaction_index) AS total,
        sum(satisfaction_index * satisfaction_index) AS squares,
        sum(negative_share) AS negative_share,
        sum(mood_change) AS mood_change,
        sum(escalated) AS escalated, count(escalated) AS with_escalated,
        sum(recovered) AS recovered, count(recovered) AS with_recovered
    FROM scoped
    GROUP BY scope, of_queue, of_team, of_agent_id, customer
),
sums AS (
    SELECT scope, of_queue AS queue, of_team AS team, of_agent_id AS agent_id,
        sum(contacts) AS contacts_expected,
        sum(scored) AS calls_scored,
        sum(calls) AS calls_indexed,
        sum(with_mood_change) AS calls_with_mood_change,
        CAST(coalesce(sum(total), 0) AS DOUBLE) AS index_sum,
        CAST(coalesce(sum(squares), 0) AS DOUBLE) AS index_sumsq,
        count(total) AS customers,
        CAST(sum(calls * calls) AS DOUBLE) AS n_squares,
        CAST(sum(total * total) AS DOUBLE) AS total_squares,
        CAST(sum(calls * total) AS DOUBLE) AS products,
        try_divide(CAST(sum(negative_share) AS DOUBLE), sum(calls)) AS negative_share,
        try_divide(CAST(sum(mood_change) AS DOUBLE), sum(with_mood_change)) AS mood_change_mean,
        try_divide(sum(escalated), sum(with_escalated)) AS escalated_share,
        try_divide(sum(recovered), sum(with_recovered)) AS recovered_share
    FROM by_customer
    GROUP BY scope, of_queue, of_team, of_agent_id
),
means AS (
    SELECT *, try_divide(index_sum, calls_indexed) AS index_mean
    FROM sums LEFT JOIN t_quantiles t ON t.degrees_of_freedom = least(customers - 1, :max_degrees_of_freedom)
),
intervals AS (
    SELECT *,
        -- Half the interval: Student's t times the standard error of the mean, clustered by customer.
        try_divide(quantile, calls_indexed) * sqrt(
            greatest(total_squares - 2 * index_mean * products + index_mean * index_mean * n_squares, 0)
            * try_divide(customers, customers - 1)
        ) AS index_half
    FROM means
)

SELECT :call_date AS call_date, scope, queue, team, agent_id,
    contacts_expected, calls_scored, calls_indexed, calls_with_mood_change, index_sum, index_sumsq,
    round(index_mean, 6) AS index_mean,
    IF(customers < 2, NULL, round(greatest(index_mean - index_half, 0), 6)) AS index_low,
    IF(customers < 2, NULL, round(least(index_mean + index_half, 100), 6)) AS index_high,
    round(negative_share, 6) AS negative_share,
    round(escalated_share, 6) AS escalated_share,
    round(recovered_share, 6) AS recovered_share,
    round(mood_change_mean, 6) AS mood_change_mean,
    round(try_divide(calls_scored, contacts_expected), 6) AS coverage
FROM intervals
