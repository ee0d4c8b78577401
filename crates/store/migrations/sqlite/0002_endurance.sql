-- What keeps an installation going through crashes, restores and several cores.

-- Where revisions of a target's objects go on after a tombstone was confirmed and forgotten.
ALTER TABLE target ADD COLUMN last_revision BIGINT NOT NULL DEFAULT 0;

-- Since when no instance of the hypervisor uses a cached image.
ALTER TABLE job ADD COLUMN idle_since BIGINT;

-- Why an administrator wants an operation given up.
ALTER TABLE operation ADD COLUMN cancel_reason TEXT;

-- What targets said they hold when they connected last. What no job is about is an orphan.
CREATE TABLE inventory (
    target        TEXT NOT NULL REFERENCES target (id) ON DELETE CASCADE,
    object        TEXT NOT NULL,
    epoch         BIGINT NOT NULL,
    revision      BIGINT NOT NULL,
    first_seen_at BIGINT NOT NULL,
    seen_at       BIGINT NOT NULL,
    PRIMARY KEY (target, object)
);

-- The cores that run. One whose lease has run out is dead: its operations go on elsewhere, its agents are away.
CREATE TABLE replica (
    id          TEXT NOT NULL PRIMARY KEY,
    lease_until BIGINT NOT NULL,
    started_at  BIGINT NOT NULL,
    -- The release of the program, and how far its clock is ahead of the database's.
    software    TEXT NOT NULL DEFAULT '',
    ahead_ms    BIGINT NOT NULL DEFAULT 0
);

-- Which core an agent's session is with, and an operation. The claims of the release before were leases of their own.
ALTER TABLE agent ADD COLUMN replica TEXT;
CREATE INDEX agent_by_replica ON agent (replica);
CREATE INDEX operation_by_owner ON operation (owner) WHERE owner IS NOT NULL;
UPDATE operation SET owner = NULL, lease_until = NULL;
UPDATE agent SET connected = 0;

-- What may be placed on a target, and what each instance takes of its hypervisor.
ALTER TABLE target ADD COLUMN drained_at BIGINT;
ALTER TABLE target ADD COLUMN lost_at BIGINT;
ALTER TABLE placement ADD COLUMN vcpus BIGINT NOT NULL DEFAULT 0;
ALTER TABLE placement ADD COLUMN memory_mib BIGINT NOT NULL DEFAULT 0;
ALTER TABLE placement ADD COLUMN disk_bytes BIGINT NOT NULL DEFAULT 0;
UPDATE placement SET
    vcpus = COALESCE((SELECT json_extract(r.spec, '$.vcpus') FROM resource r WHERE r.id = placement.instance), 0),
    memory_mib = COALESCE((SELECT json_extract(r.spec, '$.memory_mib') FROM resource r WHERE r.id = placement.instance), 0),
    disk_bytes = COALESCE((SELECT json_extract(r.spec, '$.disk_bytes') FROM resource r WHERE r.id = placement.instance), 0);

-- An agent that was revoked is refused for good; its row remembers that it was.
ALTER TABLE agent ADD COLUMN revoked_at BIGINT;
-- The version of the job protocol that it spoke last.
ALTER TABLE agent ADD COLUMN protocol BIGINT;
-- The last moment of the certificate that it connected with, and when one was refused because it was revoked.
ALTER TABLE agent ADD COLUMN certificate_until BIGINT;
ALTER TABLE agent ADD COLUMN refused_at BIGINT;
-- Why its target could not be read when it connected last.
ALTER TABLE agent ADD COLUMN trouble TEXT;

-- Answers to changes that came with an idempotency key, kept for a day.
CREATE TABLE answer (
    token      TEXT NOT NULL REFERENCES token (id),
    key        TEXT NOT NULL,
    tenant     TEXT NOT NULL,
    request    TEXT NOT NULL,
    operation  TEXT,
    body       TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (token, key)
);
CREATE INDEX answer_by_age ON answer (created_at);

-- What filtered lists are read from, in the order of ids.
DROP INDEX tag_by_value;
DROP INDEX reference_by_target;
DROP INDEX placement_by_hypervisor;
CREATE INDEX tag_by_value ON tag (name, value, resource);
CREATE INDEX reference_by_target ON reference (target, source);
CREATE INDEX placement_by_hypervisor ON placement (hypervisor, instance);

-- What is looked for all the time among much that is done: work that nobody does, what was not answered or brought about,
-- who holds an object, and what is taken of each hypervisor.
CREATE INDEX operation_unclaimed ON operation (owner, state, id) WHERE state IN ('pending', 'running');
CREATE INDEX job_unanswered ON job (target, object) WHERE reported_epoch <> epoch OR reported_revision <> revision;
CREATE INDEX job_pending ON job (target)
    WHERE outcome IS NULL OR outcome <> 'applied' OR reported_revision <> revision OR reported_epoch <> epoch;
CREATE INDEX job_by_object ON job (object, target);
CREATE INDEX placement_room ON placement (hypervisor, vcpus, memory_mib, disk_bytes);
