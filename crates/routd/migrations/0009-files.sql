-- Files that agents sent. The bytes are files of the data directory, by the id; a row is written after they are.
CREATE TABLE files (
    id TEXT PRIMARY KEY,
    -- Who sent it, and whose room it takes.
    folder TEXT NOT NULL,
    message_seq INTEGER NOT NULL REFERENCES messages (seq),
    chat_jid TEXT NOT NULL,
    name TEXT NOT NULL,
    mime TEXT NOT NULL,
    size INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    -- Set: the bytes are gone, or may be.
    gone_at INTEGER
) STRICT;
CREATE INDEX files_of_folder ON files (folder, size) WHERE gone_at IS NULL;
CREATE INDEX files_by_time ON files (created_at) WHERE gone_at IS NULL;
CREATE INDEX files_of_message ON files (message_seq);

-- The model that the folder's harness calls; null for the instance's.
ALTER TABLE groups ADD COLUMN model TEXT;
