-- A third effect of a row: what is allowed waits for a person.
CREATE TABLE acl_with_holds (
    principal TEXT NOT NULL,
    action TEXT NOT NULL,
    scope TEXT NOT NULL,
    effect TEXT NOT NULL CHECK (effect IN ('allow', 'hold', 'deny')),
    added_by TEXT NOT NULL,
    added_at INTEGER NOT NULL,
    PRIMARY KEY (principal, action, scope, effect)
) STRICT, WITHOUT ROWID;
INSERT INTO acl_with_holds (principal, action, scope, effect, added_by, added_at)
    SELECT principal, action, scope, effect, added_by, added_at FROM acl;
DROP TABLE acl;
ALTER TABLE acl_with_holds RENAME TO acl;

-- Calls of tools that wait, or waited, for a person. What is approved is what stands here, and nothing else.
CREATE TABLE approvals (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL CHECK (state IN
        ('pending', 'approved', 'running', 'done', 'failed', 'denied', 'expired', 'interrupted')),
    -- The turn that called: whose folder, chat and secrets they are.
    turn_id TEXT NOT NULL REFERENCES turns (id),
    folder TEXT NOT NULL,
    chat_jid TEXT NOT NULL,
    topic TEXT NOT NULL,
    tool TEXT NOT NULL,
    -- JSON, its keys in order.
    arguments TEXT NOT NULL,
    digest TEXT NOT NULL,
    held_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    decided_at INTEGER,
    decided_by TEXT,
    reason TEXT,
    settled_at INTEGER,
    answer TEXT,
    CHECK ((decided_at IS NULL) = (state IN ('pending', 'expired'))),
    CHECK ((decided_at IS NULL) = (decided_by IS NULL)),
    CHECK ((settled_at IS NULL) = (state IN ('pending', 'approved', 'running')))
) STRICT;
CREATE INDEX approvals_open ON approvals (state, expires_at) WHERE state IN ('pending', 'approved', 'running');
CREATE INDEX approvals_of_folder ON approvals (folder, seq);
