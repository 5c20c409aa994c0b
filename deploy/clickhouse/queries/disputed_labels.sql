-- Where do labellers disagree?
-- Parameters: most=20 (how many)
SELECT event_id, groupArray((labeller, label)) AS opinions
FROM (SELECT event_id, labeller, label FROM labels FINAL ORDER BY event_id, labeller)
GROUP BY event_id
HAVING uniqExact(label) > 1
ORDER BY event_id
LIMIT {most:UInt64}
