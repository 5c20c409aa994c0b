-- The views read with FINAL, so a replayed row counts once whether it has been merged away or not.
CREATE VIEW IF NOT EXISTS {database}.live_verdicts AS
SELECT * FROM {database}.verdicts FINAL WHERE run = ''
COMMENT 'One row per judged record, without re-scorings';

CREATE VIEW IF NOT EXISTS {database}.current_labels AS
SELECT
    said.event_id AS event_id,
    argMax(said.label, (said.at, said.version)) AS label,
    argMax(said.category, (said.at, said.version)) AS category,
    argMax(said.labeller, (said.at, said.version)) AS labeller,
    max(said.at) AS at,
    uniqExact(said.label) > 1 AS disputed
FROM {database}.labels AS said FINAL
GROUP BY event_id
COMMENT 'One row per labelled event: the latest label, and whether labellers disagree';

CREATE VIEW IF NOT EXISTS {database}.verdicts_per_minute AS
SELECT
    toStartOfMinute(toDateTime(scored_at, 'UTC')) AS minute,
    label,
    count() AS verdicts,
    countIf(action = 'block') AS blocked,
    countIf(action = 'review') AS in_review,
    avg(score) AS mean_score
FROM {database}.verdicts FINAL
WHERE run = ''
GROUP BY minute, label
COMMENT 'Verdicts per minute of scoring and label';

CREATE VIEW IF NOT EXISTS {database}.senders AS
SELECT
    sender,
    count() AS messages,
    countIf(label = 'spam') AS spam,
    spam / messages AS spam_share,
    countIf(action = 'block') AS blocked,
    uniqExact(recipient) AS recipients,
    avg(score) AS mean_score,
    max(score) AS highest_score,
    min(received_at) AS first_seen,
    max(received_at) AS last_seen
FROM {database}.verdicts FINAL
WHERE run = ''
GROUP BY sender
COMMENT 'One row per sender';

CREATE VIEW IF NOT EXISTS {database}.review_queue AS
SELECT
    event_id,
    received_at,
    sender,
    recipient,
    text,
    label,
    category,
    score,
    threshold,
    abs(score - threshold) AS distance,
    signals,
    model_name,
    model_version
FROM {database}.verdicts FINAL
WHERE run = '' AND action = 'review' AND event_id NOT IN (SELECT event_id FROM {database}.labels)
ORDER BY distance, received_at
COMMENT 'Uncertain verdicts that nobody has labelled yet, the most uncertain first';

CREATE VIEW IF NOT EXISTS {database}.quality AS
SELECT
    model_name,
    model_version,
    countIf(verdict.label = 'spam' AND truth.label = 'spam') AS tp,
    countIf(verdict.label = 'spam' AND truth.label = 'ham') AS fp,
    countIf(verdict.label = 'ham' AND truth.label = 'spam') AS fn,
    countIf(verdict.label = 'ham' AND truth.label = 'ham') AS tn,
    count() AS labelled,
    (tp + tn) / labelled AS accuracy,
    if(tp + fp = 0, NULL, tp / (tp + fp)) AS precision,
    if(tp + fn = 0, NULL, tp / (tp + fn)) AS recall,
    if(fp + tn = 0, NULL, fp / (fp + tn)) AS fpr
FROM (SELECT event_id, model_name, model_version, label FROM {database}.verdicts FINAL WHERE run = '') AS verdict
INNER JOIN {database}.current_labels AS truth ON truth.event_id = verdict.event_id
GROUP BY model_name, model_version
COMMENT 'Verdicts against labels, by model version; spam is the positive class';
