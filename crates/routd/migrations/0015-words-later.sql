-- The words of a new message are indexed a moment after it, many at a time. This says up to which message they are.
INSERT INTO counters (name, value) SELECT 'words', coalesce(max(seq), 0) FROM messages;

DROP TRIGGER messages_words_new;
-- What is not in the index cannot be taken out of it.
DROP TRIGGER messages_words_changed;
CREATE TRIGGER messages_words_changed AFTER UPDATE OF content ON messages
    WHEN old.seq <= (SELECT value FROM counters WHERE name = 'words') BEGIN
    INSERT INTO messages_words (messages_words, rowid, content) VALUES ('delete', old.seq, old.content);
    INSERT INTO messages_words (rowid, content) VALUES (new.seq, new.content);
END;
DROP TRIGGER messages_words_gone;
CREATE TRIGGER messages_words_gone AFTER DELETE ON messages
    WHEN old.seq <= (SELECT value FROM counters WHERE name = 'words') BEGIN
    INSERT INTO messages_words (messages_words, rowid, content) VALUES ('delete', old.seq, old.content);
END;
