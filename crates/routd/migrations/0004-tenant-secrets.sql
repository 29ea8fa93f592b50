-- Whose secret it is, and where it may go. Its value is the row of `sealed` whose name holds the owner, the name and
-- the binding: what is sealed for one of them does not open as another.
CREATE TABLE tenant_secrets (
    id TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    name TEXT NOT NULL,
    -- Null for a model's key, which goes to the model and nowhere else.
    url TEXT,
    header TEXT,
    set_at INTEGER NOT NULL,
    set_by TEXT NOT NULL,
    used_at INTEGER,
    UNIQUE (owner, name),
    CHECK ((url IS NULL) = (header IS NULL))
) STRICT;
