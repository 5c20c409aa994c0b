-- One row per dead letter, and one per record that the sink could not read. Never the bytes: they may be anything.
CREATE TABLE IF NOT EXISTS {database}.dead_letters
(
    source_topic LowCardinality(String) COMMENT 'Topic of the record that could not be processed',
    source_partition UInt32 COMMENT 'Its partition',
    source_offset UInt64 COMMENT 'Its offset',
    source_topic_id LowCardinality(String) COMMENT 'Kafka id of that topic',
    reason LowCardinality(String) COMMENT 'Short code: not_json, missing_field, text_empty, unparsable, ...',
    detail String COMMENT 'One sentence for a person; holds neither text nor numbers' CODEC(ZSTD(3)),
    size UInt64 COMMENT 'Bytes of the original value; 0 for a tombstone',
    digest String COMMENT 'sha256 of the original value, hexadecimal; empty for a tombstone',
    record_topic LowCardinality(String) COMMENT 'Topic where the original bytes can be read',
    record_partition UInt32 COMMENT 'Partition where they can be read',
    record_offset UInt64 COMMENT 'Offset where they can be read, until the topic''s retention ends',
    failed_at DateTime64(3, 'UTC') COMMENT 'When it was refused; for reason unparsable the record''s own timestamp',
    INDEX by_failed failed_at TYPE minmax GRANULARITY 1
)
ENGINE = ReplacingMergeTree(failed_at)
PARTITION BY toYYYYMM(failed_at)
ORDER BY (source_topic, source_partition, source_offset, source_topic_id)
TTL toDateTime(least(failed_at, toDateTime64('2100-01-01 00:00:00', 3, 'UTC'))) + INTERVAL 400 DAY DELETE WHERE failed_at >= '2020-01-01'
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'What could not be processed and why; the bytes stay on the dead-letter topic';
