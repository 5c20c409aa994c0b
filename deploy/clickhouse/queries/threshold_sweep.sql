-- What would another threshold bring? Precision, recall and false positive rate at each, on what has been labelled.
-- Parameters: model_version
WITH scored AS
(
    SELECT verdict.score AS score, said.label = 'spam' AS is_spam
    FROM live_verdicts AS verdict
    INNER JOIN current_labels AS said ON said.event_id = verdict.event_id
    WHERE verdict.model_version = {model_version:String}
)
SELECT
    threshold,
    countIf(score >= threshold AND is_spam) AS tp,
    countIf(score >= threshold AND NOT is_spam) AS fp,
    countIf(score < threshold AND is_spam) AS fn,
    countIf(score < threshold AND NOT is_spam) AS tn,
    if(tp + fp = 0, NULL, round(tp / (tp + fp), 4)) AS precision,
    if(tp + fn = 0, NULL, round(tp / (tp + fn), 4)) AS recall,
    if(fp + tn = 0, NULL, round(fp / (fp + tn), 4)) AS fpr
FROM scored
ARRAY JOIN arrayMap(step -> step / 20, range(1, 20)) AS threshold
GROUP BY threshold
ORDER BY threshold
