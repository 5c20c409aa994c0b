-- What is known about one message: every verdict on it, re-scorings too, and what people say?
-- Parameters: event_id
SELECT
    verdict.run AS run,
    verdict.scored_at AS scored_at,
    verdict.label AS label,
    verdict.score AS score,
    verdict.threshold AS threshold,
    verdict.action AS action,
    verdict.signals AS signals,
    verdict.model_name AS model_name,
    verdict.model_version AS model_version,
    verdict.model_digest AS model_digest,
    verdict.source_topic AS source_topic,
    verdict.source_partition AS source_partition,
    verdict.source_offset AS source_offset,
    said.label AS said,
    said.labeller AS labeller
FROM (SELECT * FROM verdicts FINAL WHERE event_id = {event_id:String}) AS verdict
LEFT JOIN current_labels AS said ON said.event_id = verdict.event_id
ORDER BY scored_at, run
