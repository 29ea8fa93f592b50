-- Who a folder's agent is told to be, by whoever administers the folder.
CREATE TABLE personas (
    folder TEXT PRIMARY KEY,
    content TEXT NOT NULL,
    set_at INTEGER NOT NULL,
    set_by TEXT NOT NULL
) STRICT;

-- What became of held calls, by when that was: those that are old enough are removed.
CREATE INDEX approvals_settled ON approvals (settled_at) WHERE settled_at IS NOT NULL;
