-- How are the scores spread? A heap in the middle means an unsure model.
-- Parameters: since (DateTime, UTC)
SELECT model_version, least(floor(score * 20), 19) / 20 AS score_from, count() AS verdicts
FROM live_verdicts
WHERE scored_at >= {since:DateTime('UTC')}
GROUP BY model_version, score_from
ORDER BY model_version, score_from
