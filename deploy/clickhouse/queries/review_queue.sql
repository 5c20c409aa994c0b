-- What should a person look at next? The most uncertain verdicts that nobody has labelled.
-- Parameters: most=20 (how many)
SELECT event_id, received_at, sender, text, label, round(score, 4) AS score, round(distance, 4) AS distance, signals
FROM review_queue
ORDER BY distance, received_at, event_id
LIMIT {most:UInt64}
