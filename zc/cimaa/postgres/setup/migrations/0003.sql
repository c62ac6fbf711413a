-- Version 3: an agent may have a database login of its own, which row-level security confines to its rows.
-- Programs that know version 2 may go on reading and writing.

-- In the order in which programs use them, so that none meets another halfway.
LOCK TABLE agents, instances, faults IN ACCESS EXCLUSIVE MODE;

ALTER TABLE version ADD COLUMN current integer, ADD COLUMN oldest integer;
UPDATE version SET current = 3, oldest = 2;
ALTER TABLE version ALTER COLUMN current SET NOT NULL, ALTER COLUMN oldest SET NOT NULL;

CREATE TABLE logins (
    login text COLLATE "C" PRIMARY KEY,
    agent text COLLATE "C" NOT NULL UNIQUE
);

ALTER TABLE agents ADD COLUMN login text COLLATE "C";

CREATE FUNCTION own_agent() RETURNS text
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT logins.agent FROM logins WHERE logins.login = session_user;
END;

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
