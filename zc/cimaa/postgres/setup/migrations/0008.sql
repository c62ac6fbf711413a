-- Version 8: commands are counted by an index alone, without reading their rows.
-- Programs that know version 2 may go on reading and writing.

-- It is rewritten, and indexed again: leases and actions wait for that, but no report does.
LOCK TABLE entries IN ACCESS EXCLUSIVE MODE;

UPDATE version SET current = 8;

-- What is counted of the values of commands: any agent may have written them, and what is longer than 32 characters is no
-- state.
ALTER TABLE entries
    ADD COLUMN state text COLLATE "C"
        GENERATED ALWAYS AS (CASE WHEN kind = 'command' THEN "left"(value ->> 'state', 32) END) STORED,
    ADD COLUMN found boolean
        GENERATED ALWAYS AS (CASE WHEN kind = 'command' THEN value @> '{"found": true}' END) STORED;

ALTER TABLE entries ALTER state SET STATISTICS 0, ALTER found SET STATISTICS 0;

-- How entries of an action are found among those of all agents, and counted.  Updates that leave these columns as they
-- are stay HOT: those of leases, not those of commands.
DROP INDEX entries_key;
CREATE INDEX entries_key ON entries (kind, key, expires, state, found);

-- So that most pages are known to hold no old versions of rows: the index alone suffices for those.
ALTER TABLE entries SET (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_insert_scale_factor = 0.05);
