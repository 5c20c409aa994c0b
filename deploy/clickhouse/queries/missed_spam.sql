-- Which messages passed as ham and are spam, as people say? The surest mistakes first.
-- Parameters: since=1970-01-01 00:00:00 (DateTime, UTC), most=20 (how many)
SELECT verdict.event_id AS event_id, verdict.text AS text, round(verdict.score, 4) AS score,
    said.category AS category, verdict.model_version AS model_version, said.labeller AS labeller
FROM live_verdicts AS verdict
INNER JOIN current_labels AS said ON said.event_id = verdict.event_id
WHERE verdict.label = 'ham' AND said.label = 'spam' AND verdict.scored_at >= {since:DateTime('UTC')}
ORDER BY verdict.score, event_id
LIMIT {most:UInt64}
