-- Which producers repeat themselves? An event id with several verdicts was published several times.
-- Parameters: most=20 (how many)
SELECT event_id, count() AS records, uniqExact(label) AS labels, min(received_at) AS first_seen, max(received_at) AS last_seen
FROM live_verdicts
GROUP BY event_id
HAVING records > 1
ORDER BY records DESC, event_id
LIMIT {most:UInt64}
