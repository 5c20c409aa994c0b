-- What has one sender sent, and what became of it?
-- Parameters: sender (as in the verdicts: its pseudonym where a key is set), most=20 (how many messages)
SELECT received_at, event_id, recipient, text, label, category, round(score, 4) AS score, action, signals, model_version
FROM live_verdicts
WHERE sender = {sender:String}
ORDER BY received_at DESC, event_id
LIMIT {most:UInt64}
