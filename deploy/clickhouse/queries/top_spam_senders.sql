-- Which senders send the most spam?
-- Parameters: most=20 (how many senders), least=1 (messages that a sender must have sent to count)
SELECT sender, messages, spam, round(spam_share, 4) AS spam_share, recipients, first_seen, last_seen
FROM senders
WHERE messages >= {least:UInt64} AND spam > 0
ORDER BY spam DESC, spam_share DESC, sender
LIMIT {most:UInt64}
