-- Does the traffic drift? Spam share and quantiles of the score, day by day.
-- Parameters: since=1970-01-01 00:00:00 (DateTime, UTC)
SELECT
    toDate(scored_at, 'UTC') AS day,
    model_version,
    count() AS verdicts,
    round(avg(label = 'spam'), 4) AS spam_share,
    arrayMap(score -> round(score, 4), quantiles(0.1, 0.5, 0.9)(score)) AS score_quantiles
FROM live_verdicts
WHERE scored_at >= {since:DateTime('UTC')}
GROUP BY day, model_version
ORDER BY day, model_version
