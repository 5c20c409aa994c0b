-- How much traffic is there, and how much of it is spam?
-- Parameters: since=1970-01-01 00:00:00 (DateTime, UTC)
SELECT
    toStartOfHour(toDateTime(scored_at, 'UTC')) AS hour,
    count() AS verdicts,
    countIf(label = 'spam') AS spam,
    round(spam / verdicts, 4) AS spam_share,
    countIf(action = 'block') AS blocked,
    countIf(action = 'review') AS in_review
FROM live_verdicts
WHERE scored_at >= {since:DateTime('UTC')}
GROUP BY hour
ORDER BY hour
