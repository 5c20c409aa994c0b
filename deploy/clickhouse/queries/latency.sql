-- How long from the platform's receipt to the verdict? Seconds, minute by minute. Clocks of producers may be off.
-- Parameters: since=1970-01-01 00:00:00 (DateTime, UTC)
SELECT
    toStartOfMinute(toDateTime(scored_at, 'UTC')) AS minute,
    count() AS verdicts,
    arrayMap(
        milliseconds -> milliseconds / 1000,
        quantiles(0.5, 0.95, 0.99)(dateDiff('millisecond', received_at, scored_at))
    ) AS p50_p95_p99
FROM live_verdicts
WHERE scored_at >= {since:DateTime('UTC')}
GROUP BY minute
ORDER BY minute
