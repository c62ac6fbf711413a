-- Version 4: entries, small records that are changed on condition, and leases, which are entries.
-- Programs that know version 2 may go on reading and writing.

UPDATE version SET current = 4;

CREATE TABLE entries (
    kind     text COLLATE "C" NOT NULL,
    owner    text COLLATE "C" NOT NULL,
    key      text COLLATE "C" NOT NULL,
    revision uuid NOT NULL,
    value    jsonb NOT NULL,
    expires  bigint,
    PRIMARY KEY (kind, owner, key)
) WITH (fillfactor = 50);

ALTER TABLE entries
    ALTER owner SET STATISTICS 0, ALTER key SET STATISTICS 0,
    ALTER revision SET STATISTICS 0, ALTER value SET STATISTICS 0;

CREATE VIEW leases AS
SELECT key AS name, value ->> 'holder' AS holder,
    jsonb_path_query_first(value, '$.token ? (@ >= 0 && @ < 1e18)')::bigint AS token,
    to_timestamp(jsonb_path_query_first(value, '$.since ? (@ >= 0 && @ < 1e12)')::bigint) AS since,
    to_timestamp(jsonb_path_query_first(value, '$.until ? (@ >= 0 && @ < 1e12)')::bigint) AS until,
    value @> '{"released": true}'
    OR to_timestamp(jsonb_path_query_first(value, '$.until ? (@ >= 0 && @ < 1e12)')::bigint) <= clock_timestamp()
    AS over
FROM entries WHERE kind = 'lease' AND owner = '';
