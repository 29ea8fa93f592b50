-- How a webhook's deliveries are signed. The secrets are rows of `sealed`: `hook/ID`, and `hook/ID/previous`, which is
-- good until `secret_changed_at` lies one overlap back.
ALTER TABLE links ADD COLUMN signature TEXT CHECK (signature IN ('github', 'standard'));
ALTER TABLE links ADD COLUMN secret_changed_at INTEGER;
