-- Messages that come when their time has come.
CREATE TABLE schedules (
    id TEXT PRIMARY KEY,
    folder TEXT NOT NULL,
    chat_jid TEXT NOT NULL,
    topic TEXT NOT NULL,
    -- The plan as it was written, and the zone by whose clock it is read.
    plan TEXT NOT NULL,
    zone TEXT NOT NULL,
    missed TEXT NOT NULL CHECK (missed IN ('skip', 'once', 'all')),
    content TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('active', 'paused', 'done')),
    -- It only grows while the schedule is active, so that no firing comes twice, whatever the clock does.
    next_at INTEGER,
    created_at INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    CHECK ((state = 'active') = (next_at IS NOT NULL))
) STRICT;
CREATE INDEX schedules_due ON schedules (next_at) WHERE next_at IS NOT NULL;
CREATE INDEX schedules_of_folder ON schedules (folder, id);

-- What became of each firing: the newest of each schedule.
CREATE TABLE schedule_runs (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    schedule_id TEXT NOT NULL REFERENCES schedules (id),
    -- Made from the schedule and the time, or from the key of whoever had it fire.
    firing TEXT NOT NULL,
    due_at INTEGER NOT NULL,
    at INTEGER NOT NULL,
    outcome TEXT NOT NULL CHECK (outcome IN ('fired', 'manual', 'skipped', 'refused')),
    message_id TEXT,
    UNIQUE (schedule_id, firing)
) STRICT;
CREATE INDEX schedule_runs_of ON schedule_runs (schedule_id, seq);
