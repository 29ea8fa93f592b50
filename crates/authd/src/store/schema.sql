-- The random key under which everything secret in this file is sealed, itself sealed under
-- SECRETS_KEY: once for the current one, and for the one before it until the overlap ends.
CREATE TABLE wraps (
    -- Tells SECRETS_KEYs apart, and nothing about them.
    key_id TEXT PRIMARY KEY,
    wrapped BLOB NOT NULL,
    made_at_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE signing_keys (
    kid TEXT PRIMARY KEY,
    state TEXT NOT NULL CHECK (state IN ('pending', 'active', 'retired')),
    -- When it came into that state.
    since_ms INTEGER NOT NULL,
    -- The private key while it may sign, the public key alone once it is retired; sealed either way,
    -- so that nobody who can write this file can publish a key of his own.
    sealed BLOB NOT NULL
) STRICT;

-- Only one key signs.
CREATE UNIQUE INDEX one_active ON signing_keys (state) WHERE state = 'active';

-- Ends the tokens of a subject before their time: those of a lower epoch are refused.
CREATE TABLE epochs (
    subject TEXT PRIMARY KEY,
    epoch INTEGER NOT NULL CHECK (epoch > 0)
) STRICT;

-- What the instance keeps to itself, by name.
CREATE TABLE sealed_values (
    name TEXT PRIMARY KEY,
    sealed BLOB NOT NULL
) STRICT;

CREATE TABLE sessions (
    id INTEGER PRIMARY KEY,
    -- SHA-256 of the cookie, which is random and long enough not to be guessed.
    cookie_hash BLOB NOT NULL UNIQUE CHECK (length(cookie_hash) = 32),
    subject TEXT NOT NULL,
    made_at_ms INTEGER NOT NULL,
    seen_at_ms INTEGER NOT NULL,
    ended_at_ms INTEGER
) STRICT;

CREATE INDEX sessions_of ON sessions (subject) WHERE ended_at_ms IS NULL;

CREATE TABLE login_links (
    -- SHA-256 of the code.
    code_hash BLOB PRIMARY KEY CHECK (length(code_hash) = 32),
    subject TEXT NOT NULL,
    made_at_ms INTEGER NOT NULL,
    ends_at_ms INTEGER NOT NULL,
    spent_at_ms INTEGER,
    session INTEGER REFERENCES sessions (id) ON DELETE SET NULL
) STRICT;
