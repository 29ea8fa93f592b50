-- What came from the platform, in the order in which it came.
CREATE TABLE inbound (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    -- The platform's id of the event: a repeat is the same event.
    key TEXT NOT NULL UNIQUE,
    chat TEXT NOT NULL,
    -- For routd, as JSON; nothing once routd has it.
    message TEXT,
    state TEXT NOT NULL CHECK (state IN ('waiting', 'delivered', 'aside')),
    -- Why it was set aside.
    why TEXT,
    taken_at_ms INTEGER NOT NULL,
    settled_at_ms INTEGER,
    CHECK ((state = 'waiting') = (settled_at_ms IS NULL))
) STRICT;

CREATE INDEX inbound_waiting ON inbound (chat, seq) WHERE state = 'waiting';
CREATE INDEX inbound_aside ON inbound (seq) WHERE state = 'aside';
CREATE INDEX inbound_settled ON inbound (settled_at_ms) WHERE state <> 'waiting';

-- What the adapter itself remembers, such as how far it has read.
CREATE TABLE marks (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL,
    set_at_ms INTEGER NOT NULL
) STRICT;

-- What routd asked for, by its Idempotency-Key.
CREATE TABLE orders (
    key TEXT PRIMARY KEY,
    -- SHA-256 of the request, so that a key is not used for two.
    digest TEXT NOT NULL,
    chat TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('open', 'done', 'failed')),
    -- The last word on it, as JSON, where it failed.
    trouble TEXT,
    -- The first message that it became.
    first_id TEXT,
    made_at_ms INTEGER NOT NULL,
    settled_at_ms INTEGER,
    CHECK ((state = 'open') = (settled_at_ms IS NULL))
) STRICT;

CREATE INDEX orders_messages ON orders (chat, first_id) WHERE first_id IS NOT NULL;
CREATE INDEX orders_made ON orders (made_at_ms);

CREATE TABLE pieces (
    key TEXT NOT NULL REFERENCES orders (key) ON DELETE CASCADE,
    nth INTEGER NOT NULL,
    -- For the platform, as JSON; nothing once it is out.
    body TEXT,
    state TEXT NOT NULL CHECK (state IN ('waiting', 'under_way', 'out')),
    -- The ids of the messages that it became, as a JSON array.
    ids TEXT,
    PRIMARY KEY (key, nth),
    CHECK ((state = 'out') = (ids IS NOT NULL))
) STRICT, WITHOUT ROWID;
