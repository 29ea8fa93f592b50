-- The pod that an attempt was given to, by its own id in its cluster. The first that asks has the attempt.
ALTER TABLE turns ADD COLUMN claimed_by TEXT;
