-- Version 5: what happened is kept in the table "history", and an agent may say when its next report is due.
-- Programs that know version 2 may go on reading and writing; the history of an agent is incomplete after they wrote.

LOCK TABLE agents IN ACCESS EXCLUSIVE MODE;

UPDATE version SET current = 5;

ALTER TABLE agents
    ADD COLUMN within integer, ADD COLUMN written bigint NOT NULL DEFAULT 0, ADD COLUMN recorded bigint;

CREATE TABLE history (
    at      bigint NOT NULL,
    number  integer NOT NULL,
    agent   text COLLATE "C" NOT NULL,
    kind    text COLLATE "C" NOT NULL,
    fault   text COLLATE "C",
    before  bigint,
    after   bigint,
    since   bigint,
    until   bigint,
    message text,
    who     text,
    why     text,
    PRIMARY KEY (agent, at, number)
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_insert_scale_factor = 0.05);

CREATE INDEX history_at ON history (at);

ALTER TABLE history
    ALTER fault SET STATISTICS 0, ALTER message SET STATISTICS 0, ALTER who SET STATISTICS 0,
    ALTER why SET STATISTICS 0;

CREATE FUNCTION break_history() RETURNS trigger
    LANGUAGE plpgsql
AS $$
BEGIN
    NEW.within := NULL;
    NEW.recorded := NULL;
    RETURN NEW;
END
$$;

CREATE FUNCTION record_removal() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    now bigint := greatest((extract(epoch FROM clock_timestamp()) * 1000000)::bigint, OLD.written + 1);
BEGIN
    IF NOT EXISTS (SELECT FROM history WHERE agent = OLD.name AND at > OLD.written AND kind = 'removed') THEN
        INSERT INTO history (at, number, agent, kind)
        VALUES (now, 1, OLD.name, 'started'), (now, 2, OLD.name, 'removed');
    END IF;
    RETURN OLD;
END
$$;

REVOKE ALL ON FUNCTION break_history, record_removal FROM PUBLIC;

CREATE TRIGGER break_history BEFORE UPDATE OF digest ON agents FOR EACH ROW
    WHEN (NEW.written = OLD.written) EXECUTE FUNCTION break_history();

CREATE TRIGGER record_removal BEFORE DELETE ON agents FOR EACH ROW
    WHEN (OLD.recorded IS NOT NULL) EXECUTE FUNCTION record_removal();
