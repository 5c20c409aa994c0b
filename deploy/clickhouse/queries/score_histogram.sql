-- How are the scores spread? A heap in the middle means an unsure model.
-- Parameters: since=1970-01-01 00:00:00 (DateTime, UTC)
SELECT model_version, least(floor(score * 20), 19) / 20 AS score_from, count() AS verdicts
FROM live_verdicts
WHERE scored_at >= {since:DateTime('UTC')}
GROUP BY model_version, score_from
ORDER BY model_version, score_from
