-- Whose traffic carries the spam, and from where?
-- Parameters: since=1970-01-01 00:00:00 (DateTime, UTC)
SELECT tenant, country, count() AS verdicts, countIf(label = 'spam') AS spam, round(spam / verdicts, 4) AS spam_share
FROM live_verdicts
WHERE scored_at >= {since:DateTime('UTC')}
GROUP BY tenant, country
ORDER BY spam DESC, verdicts DESC, tenant, country
