-- One row per verdict. The sorting key is the record that was judged, so a replayed row replaces itself; the prefix of
-- a sorting key cannot be changed later. Months and time to live go by scored_at, which the filter sets once: a
-- producer's clock may say 1970 or 2250. A row dated before 2020 has a wrong clock and is kept.
CREATE TABLE IF NOT EXISTS {database}.verdicts
(
    source_topic LowCardinality(String) COMMENT 'Topic of the record that was judged',
    source_partition UInt32 COMMENT 'Its partition',
    source_offset UInt64 COMMENT 'Its offset',
    source_topic_id LowCardinality(String) COMMENT 'Kafka id of that topic: tells a recreated topic from the one before it',
    run LowCardinality(String) COMMENT 'Empty for live verdicts; names a deliberate re-scoring otherwise',
    event_id String COMMENT 'The producer''s id of the message; repeated where the producer repeated itself',
    sender String COMMENT 'Sender''s number, short code or name, or its keyed pseudonym',
    recipient String COMMENT 'Recipient''s number, or its keyed pseudonym',
    text String COMMENT 'The text, its HMAC, or empty: see text_mode' CODEC(ZSTD(3)),
    text_mode LowCardinality(String) COMMENT 'What text holds: keep, hash or drop',
    received_at DateTime64(3, 'UTC') COMMENT 'When the platform received the message, by the producer''s clock' CODEC(Delta, ZSTD(1)),
    tenant LowCardinality(String) COMMENT 'Whose traffic it is; empty where the producer did not say',
    country LowCardinality(String) COMMENT 'ISO 3166-1 alpha-2; empty where the producer did not say',
    label LowCardinality(String) COMMENT 'spam or ham',
    category LowCardinality(String) COMMENT 'Kind of spam or ham; empty where the model does not tell',
    score Float64 COMMENT 'Calibrated probability of spam, 0 to 1',
    margin Float64 COMMENT 'Raw logit difference, spam minus ham',
    threshold Float64 COMMENT 'Score from which the label was spam',
    action LowCardinality(String) COMMENT 'deliver, review or block',
    signals Array(LowCardinality(String)) COMMENT 'What was found on the way: url, homoglyphs, ...',
    model_name LowCardinality(String) COMMENT 'Model that scored it',
    model_version LowCardinality(String) COMMENT 'Its version',
    model_digest LowCardinality(String) COMMENT 'sha256 of its manifest, hexadecimal',
    normaliser_version LowCardinality(String) COMMENT 'Version of the text normalisation before it',
    scored_at DateTime64(3, 'UTC') COMMENT 'When the filter scored it, by the filter''s clock' CODEC(Delta, ZSTD(1)),
    INDEX by_event event_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX by_sender sender TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX by_received received_at TYPE minmax GRANULARITY 1,
    INDEX by_scored scored_at TYPE minmax GRANULARITY 1
)
ENGINE = ReplacingMergeTree(scored_at)
PARTITION BY toYYYYMM(scored_at)
ORDER BY (source_topic, source_partition, source_offset, source_topic_id, run)
TTL toDateTime(least(scored_at, toDateTime64('2100-01-01 00:00:00', 3, 'UTC'))) + INTERVAL 400 DAY DELETE WHERE scored_at >= '2020-01-01'
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'Verdicts of the filter; read with FINAL or through live_verdicts';
