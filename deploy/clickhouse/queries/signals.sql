-- Which signals go with spam? Share of spam among the messages with the signal, against all messages.
-- Parameters: since=1970-01-01 00:00:00 (DateTime, UTC)
WITH (SELECT avg(label = 'spam') FROM live_verdicts WHERE scored_at >= {since:DateTime('UTC')}) AS everywhere
SELECT
    signal,
    count() AS messages,
    round(avg(label = 'spam'), 4) AS spam_share,
    round(avg(label = 'spam') / nullIf(everywhere, 0), 4) AS lift
FROM live_verdicts
ARRAY JOIN signals AS signal
WHERE scored_at >= {since:DateTime('UTC')}
GROUP BY signal
ORDER BY messages DESC, signal
