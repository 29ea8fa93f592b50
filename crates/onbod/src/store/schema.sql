-- Times are milliseconds since 1970.

-- Everybody who knocked and was not passed over, or came by an invite: one row for each chat, and for each invite used.
CREATE TABLE admissions (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    chat_jid TEXT UNIQUE,
    sender TEXT NOT NULL,
    sender_name TEXT,
    excerpt TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('greeted', 'waiting', 'admitting', 'admitted', 'refused')),
    -- Whether whoever uses its link comes in without more ado.
    approved INTEGER NOT NULL DEFAULT 0 CHECK (approved IN (0, 1)),
    -- Who logged in.
    subject TEXT,
    -- Where the folder is to lie, where an invite says so.
    template TEXT,
    folder TEXT,
    decided_by TEXT,
    -- The gate by which they came in, and when: it counts against that gate's day.
    gate TEXT,
    gate_at INTEGER,
    note TEXT,
    -- What keeps it from being carried out, and when it is tried again.
    trouble TEXT,
    attempts INTEGER NOT NULL DEFAULT 0,
    not_before INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL,
    changed_at INTEGER NOT NULL,
    CHECK (state NOT IN ('admitting', 'admitted') OR (subject IS NOT NULL AND folder IS NOT NULL))
) STRICT;
CREATE INDEX admissions_by_state ON admissions (state, seq);
CREATE INDEX admissions_of_subject ON admissions (subject, state) WHERE subject IS NOT NULL;
CREATE INDEX admissions_of_gate ON admissions (gate, gate_at) WHERE gate IS NOT NULL;

-- Pairing links. Several may lead to one admission: whichever is used first spends it.
CREATE TABLE links (
    -- SHA-256 of the token.
    token_hash BLOB PRIMARY KEY CHECK (length(token_hash) = 32),
    admission TEXT NOT NULL REFERENCES admissions (id),
    ends_at INTEGER NOT NULL,
    spent_at INTEGER,
    spent_by TEXT,
    CHECK ((spent_at IS NULL) = (spent_by IS NULL))
) STRICT;
CREATE INDEX links_of ON links (admission);
CREATE INDEX links_ended ON links (ends_at);

-- What is to be said in a chat, until routd has it. Its id is the key under which routd says it once.
CREATE TABLE notices (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    admission TEXT NOT NULL REFERENCES admissions (id),
    kind TEXT NOT NULL CHECK (kind IN ('greeting', 'line')),
    -- Whether a stranger's knock is what it answers: then it counts against the instance's hour.
    to_stranger INTEGER NOT NULL CHECK (to_stranger IN (0, 1)),
    text TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'said', 'dropped')),
    detail TEXT NOT NULL DEFAULT '',
    attempts INTEGER NOT NULL DEFAULT 0,
    not_before INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX notices_pending ON notices (seq) WHERE state = 'pending';
CREATE INDEX notices_of ON notices (admission, seq);
CREATE INDEX notices_to_strangers ON notices (created_at) WHERE to_stranger = 1;

-- Who was let in, and the folder that was made for them.
CREATE TABLE people (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    subject TEXT NOT NULL UNIQUE,
    folder TEXT NOT NULL UNIQUE,
    since INTEGER NOT NULL
) STRICT;

CREATE TABLE invites (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    -- SHA-256 of the token.
    token_hash BLOB NOT NULL UNIQUE CHECK (length(token_hash) = 32),
    template TEXT NOT NULL,
    uses INTEGER NOT NULL DEFAULT 0,
    uses_max INTEGER NOT NULL,
    made_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    revoked_at INTEGER,
    CHECK (uses BETWEEN 0 AND uses_max)
) STRICT;

-- Who comes in without an operator, and how many a day.
CREATE TABLE gates (
    pattern TEXT PRIMARY KEY,
    per_day INTEGER NOT NULL CHECK (per_day >= 0)
) STRICT;
