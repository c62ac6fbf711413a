-- Version 2: the fleet's worst faults from an index, and who reports for an agent as a view.

CREATE INDEX faults_worst ON faults (severity DESC, since, agent, name);

CREATE VIEW seen AS
SELECT agents.name AS agent, agents.updated, instances.id, host, pid, version, os, first,
    CASE WHEN instances.id = agents.instance THEN agents.updated ELSE last END AS last
FROM agents JOIN instances ON instances.agent = agents.name
WHERE instances.id = agents.instance OR last > agents.updated - 86400000000;

UPDATE version SET version = 2;
