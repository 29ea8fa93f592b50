CREATE TABLE runs (
    -- Never used again, also after rows were forgotten: it is a cursor.
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    turn_id TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    folder TEXT NOT NULL,
    -- What the backend is given, as JSON.
    spec TEXT NOT NULL,
    -- `starting` is shown as `pending`: the backend has it in hand.
    state TEXT NOT NULL CHECK (state IN ('pending', 'starting', 'running', 'ending', 'ended')),
    -- Who asked for its end, as a subject.
    asked_by TEXT,
    ending TEXT,
    detail TEXT,
    created_at_ms INTEGER NOT NULL,
    started_at_ms INTEGER,
    ended_at_ms INTEGER,
    UNIQUE (turn_id, attempt),
    CHECK ((state = 'ended') = (ending IS NOT NULL)),
    CHECK ((state = 'ended') = (ended_at_ms IS NOT NULL))
) STRICT;

CREATE INDEX runs_open ON runs (seq) WHERE state <> 'ended';
CREATE INDEX runs_ended ON runs (ended_at_ms) WHERE state = 'ended';

CREATE TABLE breakers (
    folder TEXT PRIMARY KEY,
    failures INTEGER NOT NULL,
    open_until_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
