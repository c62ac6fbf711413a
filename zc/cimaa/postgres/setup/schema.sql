-- The tables of a zc.cimaa store, version 8, as setup-postgres makes them in an empty schema.
--
-- They go to the schema that comes first in the search path:
--
--     CREATE SCHEMA cimaa;
--     SET search_path TO cimaa, pg_temp;
--
-- Names are compared byte by byte, as in every zc.cimaa store (COLLATE "C").
-- Times are microseconds since the epoch, but for since, time and expires: whole seconds.

-- The version of the tables, and the oldest version that a program may know and still use them.
CREATE TABLE version (
    version integer NOT NULL,               -- what programs of version 2 and before want to find here
    current integer NOT NULL,
    oldest  integer NOT NULL
);
INSERT INTO version VALUES (2, 8, 2);

-- The database login of each agent that is confined to its own rows: setup-postgres --agent writes here.
CREATE TABLE logins (
    login text COLLATE "C" PRIMARY KEY,     -- a role
    agent text COLLATE "C" NOT NULL UNIQUE
);

-- One narrow row for each agent.  A report that repeats the last one writes here alone, and only "updated": no index
-- contains that, and every page has room for as many new versions of its rows as it has rows, so the updates are HOT.
CREATE TABLE agents (
    name     text COLLATE "C" PRIMARY KEY,
    updated  bigint NOT NULL,               -- its last report
    digest   uuid NOT NULL,                 -- of its current faults
    instance uuid NOT NULL,                 -- who reported last: instances.id
    login    text COLLATE "C",              -- as in logins; null: none
    within   integer,                       -- the next report is due within this time (seconds); null: unknown
    written  bigint NOT NULL DEFAULT 0,     -- its last report that was not a mere heartbeat
    recorded bigint,                        -- its history is complete since then; null: it is not, see break_history
    marked   boolean NOT NULL DEFAULT false -- its next "report" returns that it was woken
) WITH (fillfactor = 50);

-- Who reported for an agent lately: see the view "seen".
CREATE TABLE instances (
    agent   text COLLATE "C" NOT NULL REFERENCES agents ON DELETE CASCADE,
    id      uuid NOT NULL,
    host    text NOT NULL,
    pid     bigint,                         -- null: the one-shot commands of a host
    version text NOT NULL,                  -- of zc.cimaa
    os      text NOT NULL,
    first   bigint NOT NULL,                -- its first report
    last    bigint NOT NULL,                -- its last report, but for agents.instance: agents.updated
    tags    text,                           -- words that describe the host, separated by blanks; null: none
    PRIMARY KEY (agent, id)
);

-- What is wrong now.
CREATE TABLE faults (
    agent    text COLLATE "C" NOT NULL REFERENCES agents ON DELETE CASCADE,
    name     text COLLATE "C" NOT NULL,
    severity bigint NOT NULL,               -- 50 is critical
    since    bigint NOT NULL,               -- when this string of failures began
    message  text NOT NULL,
    extras   jsonb NOT NULL,                -- the keys that the agent added
    PRIMARY KEY (agent, name)
) WITH (fillfactor = 80);

CREATE INDEX faults_worst ON faults (severity DESC, since, agent, name);

-- Faults whose name one of these matches anywhere do not alert.  The syntax is RE2's, not PostgreSQL's.
CREATE TABLE squelches (
    regex     text COLLATE "C" PRIMARY KEY,
    reason    text NOT NULL,
    "user"    text NOT NULL,
    "time"    bigint NOT NULL,              -- when it was set
    permanent boolean NOT NULL,
    expires   bigint                        -- null: valid until it is removed
);

-- Small records that are changed on condition of their revision, such as leases: see the view "leases".  Those that have
-- expired count as absent.  Every page has room for new versions, and no update of a lease changes a column that has an
-- index: these updates are HOT.
CREATE TABLE entries (
    kind     text COLLATE "C" NOT NULL,
    owner    text COLLATE "C" NOT NULL,     -- an agent; empty: all agents
    key      text COLLATE "C" NOT NULL,
    revision uuid NOT NULL,                 -- chosen by the writer, new for each write
    value    jsonb NOT NULL,
    expires  bigint,                        -- null: never
    -- What is counted of the values of commands.  Any agent may have written them: what is longer is not a state.
    state    text COLLATE "C"
        GENERATED ALWAYS AS (CASE WHEN kind = 'command' THEN "left"(value ->> 'state', 32) END) STORED,
    found    boolean
        GENERATED ALWAYS AS (CASE WHEN kind = 'command' THEN value @> '{"found": true}' END) STORED,
    PRIMARY KEY (kind, owner, key)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_insert_scale_factor = 0.05);

-- The planner needs no statistics of them, and its estimates would disclose values of all agents.
ALTER TABLE entries
    ALTER owner SET STATISTICS 0, ALTER key SET STATISTICS 0, ALTER revision SET STATISTICS 0,
    ALTER value SET STATISTICS 0, ALTER state SET STATISTICS 0, ALTER found SET STATISTICS 0;

-- The leases, for people.  What is not as programs write it is null.
CREATE VIEW leases AS
SELECT key AS name, value ->> 'holder' AS holder,
    jsonb_path_query_first(value, '$.token ? (@ >= 0 && @ < 1e18)')::bigint AS token,
    to_timestamp(jsonb_path_query_first(value, '$.since ? (@ >= 0 && @ < 1e12)')::bigint) AS since,
    to_timestamp(jsonb_path_query_first(value, '$.until ? (@ >= 0 && @ < 1e12)')::bigint) AS until,
    value @> '{"released": true}'
    OR to_timestamp(jsonb_path_query_first(value, '$.until ? (@ >= 0 && @ < 1e12)')::bigint) <= clock_timestamp()
    AS over
FROM entries WHERE kind = 'lease' AND owner = '';

-- How entries of an action are found among those of all agents, and its commands are counted without reading their rows.
CREATE INDEX entries_key ON entries (kind, key, expires, state, found);

-- What the document of an action says; no row for what is not one, as anyone who may write entries may have damaged it.
CREATE FUNCTION document_of(value jsonb)
    RETURNS TABLE (name text, target text, validfrom timestamptz, expireafter timestamptz)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    document jsonb;
BEGIN
    document := value ->> 'document';
    RETURN QUERY SELECT document ->> 'name', coalesce(document ->> 'target', document ->> 'agents'),
        (document ->> 'validfrom')::timestamptz, (document ->> 'expireafter')::timestamptz;
EXCEPTION WHEN OTHERS THEN
    RETURN;
END
$$;

-- The actions, for people; nothing of them is verified.
CREATE VIEW actions AS
SELECT key AS id, name, target, validfrom, expireafter, value ->> 'sender' AS sender,
    to_timestamp(jsonb_path_query_first(value, '$.sent ? (@ >= 0 && @ < 1e12)')::bigint) AS sent,
    value ->> 'cancelled_by' AS cancelled_by,
    CASE
        WHEN value ->> 'cancelled_by' <> '' THEN 'cancelled' WHEN expireafter <= clock_timestamp() THEN 'completed'
        WHEN validfrom > clock_timestamp() THEN 'scheduled' ELSE 'inflight'
    END AS state
FROM entries LEFT JOIN document_of(value) ON true
WHERE kind = 'action' AND owner = '' AND coalesce(to_timestamp(expires) > clock_timestamp(), true);

-- What each agent did with each action.
CREATE VIEW commands AS
SELECT key AS action, owner AS agent,
    CASE
        WHEN value ->> 'state' = 'sent' AND cancelled_by <> '' THEN 'cancelled'
        WHEN value ->> 'state' = 'sent' AND expireafter <= clock_timestamp() THEN 'expired'
        WHEN value ->> 'state' = 'running' AND expireafter + interval '60 s' <= clock_timestamp() THEN 'lost'
        ELSE value ->> 'state'
    END AS state,
    to_timestamp(jsonb_path_query_first(value, '$.time ? (@ >= 0 && @ < 1e12)')::bigint) AS time,
    value @> '{"found": true}' AS found, value ->> 'reason' AS reason
FROM entries LEFT JOIN actions ON id = key
WHERE kind = 'command' AND coalesce(to_timestamp(expires) > clock_timestamp(), true);

-- Who signed each action: the fingerprints of the keys, as ssh-keygen -l names them.
CREATE VIEW signatures AS
SELECT entries.key AS action, number,
    'SHA256:' || rtrim(encode(sha256(substr(blob, 15, get_byte(blob, 12) * 256 + get_byte(blob, 13))), 'base64'), '=')
    AS key
FROM entries
CROSS JOIN regexp_matches(
    regexp_replace(value ->> 'signatures', '\s', '', 'g'),
    '-----BEGINSSHSIGNATURE-----([A-Za-z0-9+/=]*)-----ENDSSHSIGNATURE-----', 'g'
) WITH ORDINALITY AS found (body, number)
CROSS JOIN decode(
    CASE WHEN body[1] ~ '^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$' THEN body[1] ELSE '' END, 'base64'
) AS blob
WHERE kind = 'action' AND owner = '' AND length(blob) > 14
    AND coalesce(to_timestamp(expires) > clock_timestamp(), true);

-- What happened.  Rows are only added, in the transaction of the report, and deleted when they are old (cimaa tend).  No
-- foreign key: the history of a removed agent remains.  No partitions, because nothing would create the next one.
CREATE TABLE history (
    at      bigint NOT NULL,                -- agents.written; later than the agent's earlier events
    number  integer NOT NULL,               -- the events of one report, in order
    agent   text COLLATE "C" NOT NULL,      -- "_" for squelches
    kind    text COLLATE "C" NOT NULL,      -- began, worse, better, ended, alerted, resolved, appeared, returned, ...
    fault   text COLLATE "C",               -- the fault, or the regular expression of a squelch
    before  bigint,                         -- its severity before
    after   bigint,                         -- its severity after
    since   bigint,                         -- when the series of failures, the silence or the squelch began
    until   bigint,                         -- when the squelch ends
    message text,                           -- cut to 1 KiB
    who     text,                           -- the user, the alerter, or the host of the instance
    why     text,                           -- the reason of the squelch
    PRIMARY KEY (agent, at, number)
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_insert_scale_factor = 0.05);

CREATE INDEX history_at ON history (at);

-- The planner needs no statistics of them, and its estimates would disclose values of all agents.
ALTER TABLE history
    ALTER fault SET STATISTICS 0, ALTER message SET STATISTICS 0, ALTER who SET STATISTICS 0,
    ALTER why SET STATISTICS 0;

-- Who reports for each agent, and when each instance did first and last.  One that was
-- silent for a day before the agent's last report is forgotten.
CREATE VIEW seen AS
SELECT agents.name AS agent, agents.updated, instances.id, host, pid, version, os, first,
    CASE WHEN instances.id = agents.instance THEN agents.updated ELSE last END AS last, tags
FROM agents JOIN instances ON instances.agent = agents.name
WHERE instances.id = agents.instance OR last > agents.updated - 86400000000;

-- The agent to which the session's login is confined; null if it is to none.
CREATE FUNCTION own_agent() RETURNS text
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT logins.agent FROM logins WHERE logins.login = session_user;
END;

-- What a confined agent deletes goes through these, because DELETE is a privilege on a whole table, and so permits to
-- lock it against everyone.  They go by the login, and delete nothing of another agent's.
CREATE FUNCTION remove_own_faults(agent text, names json) RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    DELETE FROM faults
    WHERE faults.agent = $1 AND faults.agent = own_agent() AND name IN (SELECT json_array_elements_text($2));
END;

CREATE FUNCTION keep_own_instances(agent text, ids json) RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    DELETE FROM instances
    WHERE instances.agent = $1 AND instances.agent = own_agent()
    AND id NOT IN (SELECT json_array_elements_text($2)::uuid);
END;

CREATE FUNCTION remove_own_agent(agent text) RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    DELETE FROM agents WHERE name = $1 AND name = own_agent();
END;

REVOKE ALL ON FUNCTION remove_own_faults, keep_own_instances, remove_own_agent FROM PUBLIC;

-- A new agent's row names its login, if it has one.
CREATE FUNCTION name_login() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT
AS $$
BEGIN
    NEW.login := (SELECT logins.login FROM logins WHERE logins.agent = NEW.name);
    RETURN NEW;
END
$$;

REVOKE ALL ON FUNCTION name_login FROM PUBLIC;

CREATE TRIGGER name_login BEFORE INSERT ON agents FOR EACH ROW EXECUTE FUNCTION name_login();

-- A program that keeps no history, or does not know it, breaks it: its report leaves "written" as it was.
CREATE FUNCTION break_history() RETURNS trigger
    LANGUAGE plpgsql
AS $$
BEGIN
    NEW.within := NULL;
    NEW.recorded := NULL;
    RETURN NEW;
END
$$;

-- Its removal of an agent leaves no events: the history says that it is complete again, with the agent removed.
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
