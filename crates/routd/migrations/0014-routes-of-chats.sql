-- The one chat that a route is of; NULL where it may be of several. It follows from the pattern, and spares a message the
-- routes of all other chats.
ALTER TABLE routes ADD COLUMN chat_jid TEXT;

-- Patterns that say no more than one chat, letter by letter. Those that this leaves out are tried as before.
UPDATE routes SET chat_jid = substr(pattern, 10)
WHERE pattern GLOB 'chat_jid=?*' AND instr(pattern, ' ') = 0 AND instr(pattern, '*') = 0 AND instr(pattern, '?') = 0
    AND instr(pattern, '[') = 0 AND instr(pattern, '\') = 0;

CREATE INDEX routes_of_chats ON routes (chat_jid, seq, id);
