-- The tables of a zc.cimaa store, version 2, as setup-postgres makes them anew.
--
-- They go to the schema that comes first in the search path:
--
--     CREATE SCHEMA cimaa;
--     SET search_path TO cimaa;
--
-- Names are compared byte by byte, as in every store of zc.cimaa's (COLLATE "C").
-- Times are microseconds since the epoch, but for since, time and expires: whole seconds.

CREATE TABLE version (
    version integer NOT NULL
);
INSERT INTO version VALUES (2);

-- One narrow row for each agent.  A report that repeats the last one writes here alone, and only "updated": no index
-- holds that, and every page has room for as many new versions of its rows as it has rows, so the updates are HOT.
CREATE TABLE agents (
    name     text COLLATE "C" PRIMARY KEY,
    updated  bigint NOT NULL,               -- its last report
    digest   uuid NOT NULL,                 -- of its current faults
    instance uuid NOT NULL                  -- who reported last: instances.id
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
    PRIMARY KEY (agent, id)
);

-- What is wrong now.
CREATE TABLE faults (
    agent    text COLLATE "C" NOT NULL REFERENCES agents ON DELETE CASCADE,
    name     text COLLATE "C" NOT NULL,
    severity bigint NOT NULL,               -- 50 is critical
    since    bigint NOT NULL,               -- when this string of failures began
    message  text NOT NULL,
    extras   jsonb NOT NULL,                -- whatever keys the agent added
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
    expires   bigint                        -- null: it stands until somebody removes it
);

-- Who reports for each agent, and when each instance did first and last.  One that was
-- silent for a day before the agent's last report is forgotten.
CREATE VIEW seen AS
SELECT agents.name AS agent, agents.updated, instances.id, host, pid, version, os, first,
    CASE WHEN instances.id = agents.instance THEN agents.updated ELSE last END AS last
FROM agents JOIN instances ON instances.agent = agents.name
WHERE instances.id = agents.instance OR last > agents.updated - 86400000000;
