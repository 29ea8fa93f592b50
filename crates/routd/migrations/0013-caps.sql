-- What the instance, a folder with those below it, or a person may spend, in days and months of UTC.
CREATE TABLE caps (
    -- 'instance', 'folder:NAME' or 'person:ADDRESS'.
    whose TEXT PRIMARY KEY,
    daily_micro_dollars INTEGER,
    monthly_micro_dollars INTEGER,
    daily_tokens INTEGER,
    monthly_tokens INTEGER,
    set_at INTEGER NOT NULL,
    set_by TEXT NOT NULL
) STRICT;
INSERT INTO caps (whose, daily_micro_dollars, monthly_micro_dollars, daily_tokens, monthly_tokens, set_at, set_by)
    SELECT 'folder:' || folder, daily_micro_dollars, monthly_micro_dollars, daily_tokens, monthly_tokens, set_at, set_by
    FROM usage_caps;
DROP TABLE usage_caps;

-- Whole for the sums of caps, which are made on every request.
CREATE INDEX usage_of_person ON usage
    (person, began_at, micro_dollars, input_tokens, output_tokens, cache_read_tokens, cache_write_tokens);
DROP INDEX usage_by_time;
CREATE INDEX usage_by_time ON usage
    (began_at, micro_dollars, input_tokens, output_tokens, cache_read_tokens, cache_write_tokens);
