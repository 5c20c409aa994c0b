-- Which texts go to many people? Digits and links do not count, as campaigns vary them.
-- Parameters: since=1970-01-01 00:00:00 (DateTime, UTC), least=5 (recipients from which it is a campaign), most=20 (how many)
SELECT
    replaceRegexpAll(lower(replaceRegexpAll(text, 'https?://[^ ]+', '<link>')), '[0-9]+', '0') AS form,
    count() AS messages,
    uniqExact(recipient) AS recipients,
    uniqExact(sender) AS senders,
    round(avg(label = 'spam'), 4) AS spam_share,
    min(received_at) AS first_seen,
    max(received_at) AS last_seen
FROM live_verdicts
WHERE scored_at >= {since:DateTime('UTC')} AND text_mode = 'keep' AND text != ''
GROUP BY form
HAVING recipients >= {least:UInt64}
ORDER BY recipients DESC, form
LIMIT {most:UInt64}
