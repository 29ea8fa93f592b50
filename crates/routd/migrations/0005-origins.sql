-- Who or what a message comes from. routd sets it from how the message reached it, never from what the message says.
ALTER TABLE messages ADD COLUMN origin TEXT NOT NULL DEFAULT 'person'
    CHECK (origin IN ('person', 'program', 'schedule', 'delegation', 'system', 'agent'));
-- The delegation that it asks for, or whose result it is.
ALTER TABLE messages ADD COLUMN delegation TEXT;
UPDATE messages SET origin = 'program' WHERE outbound = 0 AND chat_jid LIKE 'hook:%';
UPDATE messages SET origin = CASE sender WHEN 'agent' THEN 'agent' ELSE 'system' END WHERE outbound = 1;

-- A task that one folder's agent gave to another's.
CREATE TABLE delegations (
    id TEXT PRIMARY KEY,
    -- The first one of its chain, which all that follow from it count against.
    root TEXT NOT NULL REFERENCES delegations (id),
    -- The one whose task, or whose result, the turn that gave it was at work on.
    parent TEXT REFERENCES delegations (id),
    depth INTEGER NOT NULL,
    by_turn TEXT NOT NULL REFERENCES turns (id),
    by_folder TEXT NOT NULL,
    folder TEXT NOT NULL,
    -- The chat in which it is done, and nothing else.
    chat_jid TEXT NOT NULL UNIQUE,
    created_at INTEGER NOT NULL,
    -- Set once its result was told.
    ended_at INTEGER
) STRICT;
CREATE INDEX delegations_of_root ON delegations (root);

-- What was said, by its words.
CREATE VIRTUAL TABLE messages_words USING fts5 (
    content, content = 'messages', content_rowid = 'seq', tokenize = 'unicode61 remove_diacritics 2'
);
CREATE TRIGGER messages_words_new AFTER INSERT ON messages BEGIN
    INSERT INTO messages_words (rowid, content) VALUES (new.seq, new.content);
END;
CREATE TRIGGER messages_words_changed AFTER UPDATE OF content ON messages BEGIN
    INSERT INTO messages_words (messages_words, rowid, content) VALUES ('delete', old.seq, old.content);
    INSERT INTO messages_words (rowid, content) VALUES (new.seq, new.content);
END;
CREATE TRIGGER messages_words_gone AFTER DELETE ON messages BEGIN
    INSERT INTO messages_words (messages_words, rowid, content) VALUES ('delete', old.seq, old.content);
END;
INSERT INTO messages_words (messages_words) VALUES ('rebuild');
