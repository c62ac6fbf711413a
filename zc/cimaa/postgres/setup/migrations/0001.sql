-- Version 1 of the store's tables.

CREATE TABLE version (
    version integer NOT NULL
);
INSERT INTO version VALUES (1);

CREATE TABLE agents (
    name     text COLLATE "C" PRIMARY KEY,
    updated  bigint NOT NULL,
    digest   uuid NOT NULL,
    instance uuid NOT NULL
) WITH (fillfactor = 50);

CREATE TABLE instances (
    agent   text COLLATE "C" NOT NULL REFERENCES agents ON DELETE CASCADE,
    id      uuid NOT NULL,
    host    text NOT NULL,
    pid     bigint,
    version text NOT NULL,
    os      text NOT NULL,
    first   bigint NOT NULL,
    last    bigint NOT NULL,
    PRIMARY KEY (agent, id)
);

CREATE TABLE faults (
    agent    text COLLATE "C" NOT NULL REFERENCES agents ON DELETE CASCADE,
    name     text COLLATE "C" NOT NULL,
    severity bigint NOT NULL,
    since    bigint NOT NULL,
    message  text NOT NULL,
    extras   jsonb NOT NULL,
    PRIMARY KEY (agent, name)
) WITH (fillfactor = 80);

CREATE TABLE squelches (
    regex     text COLLATE "C" PRIMARY KEY,
    reason    text NOT NULL,
    "user"    text NOT NULL,
    "time"    bigint NOT NULL,
    permanent boolean NOT NULL,
    expires   bigint
);
