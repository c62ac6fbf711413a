-- Version 7: actions, commands and answers are entries, and each role may write only its kinds of entries; instances have
-- tags.  Programs that know version 2 may go on reading and writing; they leave tags as they are.

-- With the tables of the view, which are locked after it, as by a program that reads it.
LOCK TABLE seen IN ACCESS EXCLUSIVE MODE;

UPDATE version SET current = 7;

ALTER TABLE instances ADD COLUMN tags text;

CREATE OR REPLACE VIEW seen AS
SELECT agents.name AS agent, agents.updated, instances.id, host, pid, version, os, first,
    CASE WHEN instances.id = agents.instance THEN agents.updated ELSE last END AS last, tags
FROM agents JOIN instances ON instances.agent = agents.name
WHERE instances.id = agents.instance OR last > agents.updated - 86400000000;

-- The setup makes these policies again.
DROP POLICY IF EXISTS valid ON instances;
DROP POLICY IF EXISTS inserted_kinds ON entries;
DROP POLICY IF EXISTS updated_kinds ON entries;
DROP POLICY IF EXISTS confined ON entries;

-- How entries of an action are found among those of all agents.  No update changes these columns: it stays HOT.
CREATE INDEX entries_key ON entries (kind, key);

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
