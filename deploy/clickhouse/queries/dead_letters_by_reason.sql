-- What could not be processed, and why? An example's coordinates say where its bytes can be read.
-- Parameters: since=1970-01-01 00:00:00 (DateTime, UTC)
SELECT
    reason,
    count() AS records,
    sum(size) AS bytes,
    any(detail) AS example,
    argMax((record_topic, record_partition, record_offset), failed_at) AS latest,
    max(failed_at) AS last_seen
FROM dead_letters FINAL
WHERE failed_at >= {since:DateTime('UTC')}
GROUP BY reason
ORDER BY records DESC, reason
