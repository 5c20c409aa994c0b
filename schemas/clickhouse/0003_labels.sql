-- What people, or the simulator in their place, say about events. One labeller has one opinion of an event, the latest.
-- All labels of an event share a partition of the topic (key = event_id), so the Kafka offset orders them.
-- Not partitioned: `at` is the labeller's clock. No time to live: labels hold no text, and training needs the old ones.
CREATE TABLE IF NOT EXISTS {database}.labels
(
    event_id String COMMENT 'The event that is labelled',
    labeller LowCardinality(String) COMMENT 'Who says so',
    label LowCardinality(String) COMMENT 'spam or ham',
    category LowCardinality(String) COMMENT 'Kind of spam or ham; empty where not said',
    at DateTime64(3, 'UTC') COMMENT 'When it was said, by the labeller''s clock',
    version UInt64 COMMENT 'Offset of the label on its topic: the highest wins'
)
ENGINE = ReplacingMergeTree(version)
ORDER BY (event_id, labeller)
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'Feedback and ground truth; read with FINAL or through current_labels';
