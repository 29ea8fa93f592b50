-- Whoever has logged in by a provider. The id is random: it says nothing, and is never another's.
CREATE TABLE people (
    id TEXT PRIMARY KEY,
    made_at_ms INTEGER NOT NULL
) STRICT;

-- Whom providers vouch for, by the provider's own opaque word for them. Two belong to one person only
-- where that person, logged in by the one, has linked the other.
CREATE TABLE identities (
    identity TEXT PRIMARY KEY,
    person TEXT NOT NULL REFERENCES people (id),
    -- What the person's own page calls it. Decides nothing.
    shown TEXT NOT NULL,
    linked_at_ms INTEGER NOT NULL,
    used_at_ms INTEGER NOT NULL
) STRICT;

CREATE INDEX identities_of ON identities (person);

-- What let the person in, where a provider vouched: the session lasts no longer than the rule.
ALTER TABLE sessions ADD COLUMN rule TEXT;
-- The address that it began from.
ALTER TABLE sessions ADD COLUMN begun_from TEXT NOT NULL DEFAULT '';
-- A browser's, by its cookie; or a program's, by refresh tokens.
ALTER TABLE sessions ADD COLUMN kind TEXT NOT NULL DEFAULT 'browser'
    CHECK (kind IN ('browser', 'program'));

-- Logins that were answered, so that none counts twice.
CREATE TABLE spent_logins (
    state_hash BLOB PRIMARY KEY CHECK (length(state_hash) = 32),
    ends_at_ms INTEGER NOT NULL
) STRICT;

-- The refresh tokens of a program's session: one is good, all before it are spent.
CREATE TABLE refreshes (
    token_hash BLOB PRIMARY KEY CHECK (length(token_hash) = 32),
    session INTEGER NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    made_at_ms INTEGER NOT NULL,
    spent_at_ms INTEGER
) STRICT;

CREATE UNIQUE INDEX one_good_refresh ON refreshes (session) WHERE spent_at_ms IS NULL;
