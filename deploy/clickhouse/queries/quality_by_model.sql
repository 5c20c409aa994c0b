-- How good is each model version on what has been labelled?
-- Parameters: none
SELECT model_name, model_version, labelled, tp, fp, fn, tn, round(accuracy, 4) AS accuracy,
    round(precision, 4) AS precision, round(recall, 4) AS recall, round(fpr, 4) AS fpr
FROM quality
ORDER BY model_name, model_version
