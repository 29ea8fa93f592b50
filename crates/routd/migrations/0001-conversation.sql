-- Times are milliseconds since 1970. Ids that cross a process boundary are text.

-- Facts of this database that are one value each: how often a routd was started on it, which socket number was
-- given out last.
CREATE TABLE counters (
    name TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE groups (
    folder TEXT PRIMARY KEY,
    -- One flat directory below homes/, never given to another folder.
    home TEXT NOT NULL UNIQUE,
    harness TEXT,
    command TEXT NOT NULL DEFAULT '[]',
    created_at INTEGER NOT NULL,
    -- Set: out of service. The row stays, so that the home is found again when the folder comes back.
    removed_at INTEGER
) STRICT;

CREATE TABLE routes (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    seq INTEGER NOT NULL,
    pattern TEXT NOT NULL,
    target TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    UNIQUE (seq, pattern, target)
) STRICT;

CREATE TABLE turns (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    folder TEXT NOT NULL REFERENCES groups (folder),
    topic TEXT NOT NULL,
    chat_jid TEXT NOT NULL,
    -- The topic as the platform calls it: where a reply is posted.
    thread TEXT NOT NULL,
    sender TEXT NOT NULL,
    -- Whether the folder is this sender's alone, so that nobody else is led to it by what is said here.
    per_person INTEGER NOT NULL CHECK (per_person IN (0, 1)),
    state TEXT NOT NULL CHECK (state IN ('queued', 'starting', 'running', 'ended')),
    outcome TEXT CHECK (outcome IN ('answered', 'silent', 'failed', 'interrupted', 'cancelled')),
    attempt INTEGER NOT NULL DEFAULT 0,
    not_before INTEGER NOT NULL DEFAULT 0,
    deadline_at INTEGER,
    -- The number of the socket that serves this attempt; null once the run is known to be gone.
    endpoint INTEGER UNIQUE,
    run_id TEXT,
    -- When the agent of this attempt first asked for its input.
    begun_at INTEGER,
    -- Whether this attempt did something visible or lasting: then it is never repeated.
    did_something INTEGER NOT NULL DEFAULT 0 CHECK (did_something IN (0, 1)),
    -- Whether it ended by the agent's own word: then the same word again is answered alike.
    by_result INTEGER NOT NULL DEFAULT 0 CHECK (by_result IN (0, 1)),
    created_at INTEGER NOT NULL,
    ended_at INTEGER,
    detail TEXT NOT NULL DEFAULT '',
    CHECK ((state = 'ended') = (outcome IS NOT NULL)),
    CHECK ((state = 'ended') = (ended_at IS NOT NULL)),
    CHECK (state != 'queued' OR endpoint IS NULL),
    CHECK (state NOT IN ('starting', 'running') OR endpoint IS NOT NULL)
) STRICT;
CREATE UNIQUE INDEX turns_one_active ON turns (folder) WHERE state IN ('starting', 'running');
CREATE INDEX turns_queued ON turns (not_before, seq) WHERE state = 'queued';
CREATE INDEX turns_queued_of_folder ON turns (folder, seq) WHERE state = 'queued';
CREATE INDEX turns_of_chat ON turns (chat_jid, seq);
CREATE INDEX turns_of_folder ON turns (folder, seq);
CREATE INDEX turns_with_endpoint ON turns (seq) WHERE endpoint IS NOT NULL;

CREATE TABLE turn_steps (
    id INTEGER PRIMARY KEY,
    turn_id TEXT NOT NULL REFERENCES turns (id),
    at INTEGER NOT NULL,
    what TEXT NOT NULL,
    detail TEXT NOT NULL
) STRICT;
CREATE INDEX turn_steps_of ON turn_steps (turn_id, id);

CREATE TABLE messages (
    -- The order of arrival, and the only cursor.
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    chat_jid TEXT NOT NULL,
    outbound INTEGER NOT NULL CHECK (outbound IN (0, 1)),
    sender TEXT NOT NULL,
    sender_name TEXT,
    content TEXT NOT NULL,
    verb TEXT NOT NULL,
    thread TEXT NOT NULL,
    topic TEXT NOT NULL,
    folder TEXT,
    disposition TEXT NOT NULL CHECK (disposition IN ('turn', 'observed', 'unrouted', 'said')),
    turn_id TEXT REFERENCES turns (id),
    -- Outbound: the one person it was said to, where the folder is that person's alone.
    for_sender TEXT,
    reply_to TEXT,
    is_group INTEGER NOT NULL CHECK (is_group IN (0, 1)),
    attachments TEXT NOT NULL DEFAULT '[]',
    sent_at INTEGER NOT NULL,
    received_at INTEGER NOT NULL,
    -- Which rule took it, for people.
    rule TEXT NOT NULL,
    UNIQUE (chat_jid, id),
    CHECK (disposition != 'turn' OR turn_id IS NOT NULL),
    CHECK (disposition NOT IN ('observed', 'unrouted') OR turn_id IS NULL),
    CHECK ((disposition = 'said') = (outbound = 1))
) STRICT;
CREATE INDEX messages_of_chat ON messages (chat_jid, seq);
CREATE INDEX messages_of_chat_and_folder ON messages (chat_jid, folder, seq);
CREATE INDEX messages_of_turn ON messages (turn_id, seq) WHERE turn_id IS NOT NULL;
CREATE INDEX messages_by_id ON messages (id);
CREATE INDEX messages_observed ON messages (folder, seq) WHERE disposition = 'observed';
CREATE INDEX messages_unrouted ON messages (seq) WHERE disposition = 'unrouted';

-- The harness's own session for a topic.
CREATE TABLE sessions (
    folder TEXT NOT NULL,
    topic TEXT NOT NULL,
    harness TEXT NOT NULL,
    session TEXT NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (folder, topic)
) STRICT, WITHOUT ROWID;

CREATE TABLE memories (
    folder TEXT PRIMARY KEY,
    content TEXT NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;

-- Where the agent spoke a short while ago. An empty sender: whoever speaks there next.
CREATE TABLE engagements (
    chat_jid TEXT NOT NULL,
    thread TEXT NOT NULL,
    sender TEXT NOT NULL,
    folder TEXT NOT NULL,
    topic TEXT NOT NULL,
    until INTEGER NOT NULL,
    PRIMARY KEY (chat_jid, thread, sender)
) STRICT, WITHOUT ROWID;

-- A chat that somebody pinned to a folder.
CREATE TABLE pins (
    chat_jid TEXT PRIMARY KEY,
    folder TEXT NOT NULL,
    pinned_at INTEGER NOT NULL
) STRICT;

CREATE TABLE channels (
    name TEXT PRIMARY KEY,
    url TEXT NOT NULL,
    jid_prefixes TEXT NOT NULL,
    capabilities TEXT NOT NULL,
    owner TEXT NOT NULL,
    seen_at INTEGER NOT NULL
) STRICT;

-- Written in the transaction of the message it carries.
CREATE TABLE outbox (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    -- Travels to the adapter as Idempotency-Key.
    id TEXT NOT NULL UNIQUE,
    message_seq INTEGER NOT NULL UNIQUE REFERENCES messages (seq),
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
    ended_at INTEGER
) STRICT;
CREATE INDEX outbox_open ON outbox (chat_jid, seq) WHERE state IN ('pending', 'sending');
CREATE INDEX outbox_due ON outbox (platform, not_before) WHERE state = 'pending';
CREATE INDEX outbox_unknown ON outbox (chat_jid, not_before) WHERE state = 'ambiguous';

-- The platform's ids of what was sent, so that a reply to it is recognised.
CREATE TABLE sent_ids (
    chat_jid TEXT NOT NULL,
    platform_id TEXT NOT NULL,
    message_seq INTEGER NOT NULL REFERENCES messages (seq),
    PRIMARY KEY (chat_jid, platform_id)
) STRICT, WITHOUT ROWID;

-- What those who show a chat read, in order.
CREATE TABLE feed (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    chat_jid TEXT NOT NULL,
    topic TEXT NOT NULL,
    at INTEGER NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('message', 'status', 'done')),
    message_seq INTEGER REFERENCES messages (seq),
    turn_id TEXT REFERENCES turns (id),
    text TEXT,
    outcome TEXT,
    CHECK (kind != 'message' OR message_seq IS NOT NULL),
    CHECK (kind = 'message' OR turn_id IS NOT NULL),
    CHECK (kind != 'status' OR text IS NOT NULL),
    CHECK (kind != 'done' OR outcome IS NOT NULL)
) STRICT;
CREATE INDEX feed_of_chat ON feed (chat_jid, seq);
-- The newest only, and one end only.
CREATE UNIQUE INDEX feed_one_status ON feed (turn_id) WHERE kind = 'status';
CREATE UNIQUE INDEX feed_one_end ON feed (turn_id) WHERE kind = 'done';

-- What a tool answered, so that a repeated call is answered from here and not done again.
CREATE TABLE tool_calls (
    id INTEGER PRIMARY KEY,
    turn_id TEXT NOT NULL REFERENCES turns (id),
    attempt INTEGER NOT NULL,
    key TEXT,
    tool TEXT NOT NULL,
    arguments TEXT NOT NULL,
    -- Which start of routd it was made under, and the last one that answered it again.
    epoch INTEGER NOT NULL,
    replayed INTEGER NOT NULL DEFAULT 0,
    answer TEXT NOT NULL,
    at INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX tool_calls_by_key ON tool_calls (turn_id, key) WHERE key IS NOT NULL;
CREATE INDEX tool_calls_by_content ON tool_calls (turn_id, attempt, tool, arguments);

CREATE TABLE links (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('chat', 'hook')),
    folder TEXT NOT NULL REFERENCES groups (folder),
    chat_jid TEXT NOT NULL,
    -- Keyed; the token itself is nowhere.
    token_hash BLOB NOT NULL UNIQUE,
    created_at INTEGER NOT NULL,
    revoked_at INTEGER
) STRICT;

-- The random key of this database, wrapped under SECRETS_KEY; during a rotation, under both.
CREATE TABLE data_keys (
    key_id TEXT PRIMARY KEY,
    wrapped BLOB NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

-- Small secrets of this daemon's own, sealed under the data key.
CREATE TABLE sealed (
    name TEXT PRIMARY KEY,
    sealed BLOB NOT NULL
) STRICT;

CREATE TABLE acl (
    principal TEXT NOT NULL,
    action TEXT NOT NULL,
    scope TEXT NOT NULL,
    effect TEXT NOT NULL CHECK (effect IN ('allow', 'deny')),
    added_by TEXT NOT NULL,
    added_at INTEGER NOT NULL,
    PRIMARY KEY (principal, action, scope, effect)
) STRICT, WITHOUT ROWID;

CREATE TABLE memberships (
    child TEXT NOT NULL,
    parent TEXT NOT NULL,
    added_by TEXT NOT NULL,
    added_at INTEGER NOT NULL,
    PRIMARY KEY (child, parent)
) STRICT, WITHOUT ROWID;
