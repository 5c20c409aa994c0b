-- Does a score of 0.8 mean spam in 8 of 10 cases? Mean score beside the share of spam, by tenths of the score.
-- Parameters: model_version
SELECT
    least(floor(verdict.score * 10), 9) / 10 AS score_from,
    count() AS labelled,
    round(avg(verdict.score), 4) AS mean_score,
    round(avg(said.label = 'spam'), 4) AS spam_share
FROM live_verdicts AS verdict
INNER JOIN current_labels AS said ON said.event_id = verdict.event_id
WHERE verdict.model_version = {model_version:String}
GROUP BY score_from
ORDER BY score_from
