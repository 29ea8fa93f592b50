-- What models were used: a row for each request that costs something, written before it is sent. While it is open, its
-- counts are what is set aside for it; then they are what was used.
CREATE TABLE usage (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    turn_id TEXT NOT NULL REFERENCES turns (id),
    attempt INTEGER NOT NULL,
    folder TEXT NOT NULL,
    -- Who alone wrote what the turn answers; empty where several did.
    person TEXT NOT NULL,
    vendor TEXT NOT NULL CHECK (vendor IN ('anthropic', 'openai')),
    model TEXT NOT NULL,
    -- Whose key was spent: 'instance', or an owner of tenant_secrets.
    key_owner TEXT NOT NULL,
    -- done: as the model said. cut: it broke off before the model said, and the rest is estimated. failed: the model
    -- answered with an error, or was not reached. lost: routd ended in the middle, and what was set aside stands.
    state TEXT NOT NULL CHECK (state IN ('open', 'done', 'cut', 'failed', 'lost')),
    input_tokens INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    cache_read_tokens INTEGER NOT NULL,
    cache_write_tokens INTEGER NOT NULL,
    -- Millionths of a dollar; null where the model's price is not known.
    micro_dollars INTEGER,
    began_at INTEGER NOT NULL,
    ended_at INTEGER,
    CHECK ((state IN ('open', 'lost')) = (ended_at IS NULL))
) STRICT;
-- Whole for the sums of caps, which are made on every request.
CREATE INDEX usage_of_folder ON usage
    (folder, began_at, micro_dollars, input_tokens, output_tokens, cache_read_tokens, cache_write_tokens);
CREATE INDEX usage_by_time ON usage (began_at);
CREATE INDEX usage_open ON usage (seq) WHERE state = 'open';

-- What a folder and those below it may spend together, in days and months of UTC.
CREATE TABLE usage_caps (
    folder TEXT PRIMARY KEY,
    daily_micro_dollars INTEGER,
    monthly_micro_dollars INTEGER,
    daily_tokens INTEGER,
    monthly_tokens INTEGER,
    set_at INTEGER NOT NULL,
    set_by TEXT NOT NULL
) STRICT;
