-- Version 6: agents can be woken: their rows are marked.
-- Programs that know version 2 may go on reading and writing; they leave the marks as they are.

LOCK TABLE agents IN ACCESS EXCLUSIVE MODE;

UPDATE version SET current = 6;

ALTER TABLE agents ADD COLUMN marked boolean NOT NULL DEFAULT false;
