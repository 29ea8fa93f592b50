-- Chats whose messages no route takes, until onbod was told: the newest message of each.
CREATE TABLE knocks (
    chat_jid TEXT PRIMARY KEY,
    message_seq INTEGER NOT NULL REFERENCES messages (seq)
) STRICT;
CREATE INDEX knocks_in_order ON knocks (message_seq);

-- Who was let in: a repeat of an admission is answered from here.
CREATE TABLE admissions (
    id TEXT PRIMARY KEY,
    subject TEXT NOT NULL,
    folder TEXT NOT NULL REFERENCES groups (folder),
    -- The chat that was given to them. One that was given once is never given by this way again.
    chat_jid TEXT UNIQUE,
    admitted_at INTEGER NOT NULL
) STRICT;
CREATE INDEX admissions_of_folder ON admissions (folder, subject);
