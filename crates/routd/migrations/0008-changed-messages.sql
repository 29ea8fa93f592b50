-- What was said may be edited, taken back, and reacted to.
ALTER TABLE messages ADD COLUMN edited_at INTEGER;
-- Set: its text is gone too.
ALTER TABLE messages ADD COLUMN deleted_at INTEGER;

CREATE TABLE feed_now (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    chat_jid TEXT NOT NULL,
    topic TEXT NOT NULL,
    at INTEGER NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('message', 'edited', 'deleted', 'reacted', 'status', 'done')),
    message_seq INTEGER REFERENCES messages (seq),
    turn_id TEXT REFERENCES turns (id),
    text TEXT,
    outcome TEXT,
    CHECK (kind IN ('status', 'done') OR message_seq IS NOT NULL),
    CHECK (kind NOT IN ('status', 'done') OR turn_id IS NOT NULL),
    CHECK (kind NOT IN ('status', 'reacted') OR text IS NOT NULL),
    CHECK (kind != 'done' OR outcome IS NOT NULL)
) STRICT;
INSERT INTO feed_now SELECT seq, chat_jid, topic, at, kind, message_seq, turn_id, text, outcome FROM feed;
-- Numbers that were given out are never given out again.
UPDATE sqlite_sequence SET seq = (SELECT seq FROM sqlite_sequence WHERE name = 'feed')
    WHERE name = 'feed_now' AND EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'feed');
DROP TABLE feed;
ALTER TABLE feed_now RENAME TO feed;
CREATE INDEX feed_of_chat ON feed (chat_jid, seq);
CREATE UNIQUE INDEX feed_one_status ON feed (turn_id) WHERE kind = 'status';
CREATE UNIQUE INDEX feed_one_end ON feed (turn_id) WHERE kind = 'done';
CREATE UNIQUE INDEX feed_one_message ON feed (message_seq) WHERE kind = 'message';

-- A message may go out more than once: as itself, and then as what was changed of it.
CREATE TABLE outbox_now (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    -- Travels to the adapter as Idempotency-Key.
    id TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL CHECK (kind IN ('send', 'edit', 'delete', 'react')),
    message_seq INTEGER NOT NULL REFERENCES messages (seq),
    -- The new text, or the reaction.
    text TEXT,
    chat_jid TEXT NOT NULL,
    platform TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'sending', 'sent', 'failed', 'unsupported', 'ambiguous')),
    attempts INTEGER NOT NULL DEFAULT 0,
    -- While it is pending: when it may go. While it is ambiguous: how long later ones of its chat wait for it.
    not_before INTEGER NOT NULL DEFAULT 0,
    -- Whether it waits only because no adapter was there: then it goes as soon as one comes.
    unreached INTEGER NOT NULL DEFAULT 0 CHECK (unreached IN (0, 1)),
    detail TEXT NOT NULL DEFAULT '',
    created_at INTEGER NOT NULL,
    ended_at INTEGER,
    CHECK (kind NOT IN ('edit', 'react') OR text IS NOT NULL)
) STRICT;
INSERT INTO outbox_now SELECT seq, id, 'send', message_seq, NULL, chat_jid, platform, state, attempts, not_before,
    unreached, detail, created_at, ended_at FROM outbox;
DROP TABLE outbox;
ALTER TABLE outbox_now RENAME TO outbox;
CREATE UNIQUE INDEX outbox_one_send ON outbox (message_seq) WHERE kind = 'send';
CREATE INDEX outbox_of_message ON outbox (message_seq);
CREATE INDEX outbox_open ON outbox (chat_jid, seq) WHERE state IN ('pending', 'sending');
CREATE INDEX outbox_due ON outbox (platform, not_before) WHERE state = 'pending';
CREATE INDEX outbox_unknown ON outbox (chat_jid, not_before) WHERE state = 'ambiguous';
