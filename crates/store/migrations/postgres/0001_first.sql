-- Every row has a tenant. Times are milliseconds since 1970. Addresses are IPv4 as integers. Text is compared byte by
-- byte, as SQLite does it, whatever the language of the cluster.

CREATE TABLE installation (
    name  TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    value TEXT COLLATE "C" NOT NULL
);

-- Who may call.
CREATE TABLE token (
    id         TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    tenant     TEXT COLLATE "C" NOT NULL,
    name       TEXT COLLATE "C" NOT NULL,
    sha256     TEXT COLLATE "C" NOT NULL UNIQUE,
    scopes     TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    revoked_at BIGINT
);

-- Routers and hypervisors, and the agents that work them.
CREATE TABLE target (
    id         TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    tenant     TEXT COLLATE "C" NOT NULL,
    kind       TEXT COLLATE "C" NOT NULL CHECK (kind IN ('router', 'hypervisor')),
    name       TEXT COLLATE "C" NOT NULL,
    capacity   TEXT COLLATE "C" NOT NULL DEFAULT '{}',
    created_at BIGINT NOT NULL,
    UNIQUE (tenant, kind, name)
);

CREATE TABLE agent (
    id           TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    tenant       TEXT COLLATE "C" NOT NULL,
    target       TEXT COLLATE "C" NOT NULL REFERENCES target (id),
    session      BIGINT NOT NULL DEFAULT 0,
    connected    BIGINT NOT NULL DEFAULT 0,
    software     TEXT COLLATE "C",
    features     TEXT COLLATE "C" NOT NULL DEFAULT '[]',
    last_seen_at BIGINT,
    created_at   BIGINT NOT NULL
);
CREATE INDEX agent_by_target ON agent (target);

CREATE TABLE invitation (
    id         TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    tenant     TEXT COLLATE "C" NOT NULL,
    target     TEXT COLLATE "C" NOT NULL REFERENCES target (id),
    sha256     TEXT COLLATE "C" NOT NULL,
    expires_at BIGINT NOT NULL,
    used_at    BIGINT,
    -- Who used it: the digest of the agent's key, so that the same agent may ask again after a crash.
    key_sha256 TEXT COLLATE "C",
    agent      TEXT COLLATE "C" REFERENCES agent (id)
);

-- What people asked for.
CREATE TABLE resource (
    id           TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    tenant       TEXT COLLATE "C" NOT NULL,
    kind         TEXT COLLATE "C" NOT NULL,
    name         TEXT COLLATE "C" NOT NULL,
    generation   BIGINT NOT NULL,
    spec_version BIGINT NOT NULL,
    spec         TEXT COLLATE "C" NOT NULL,
    state        TEXT COLLATE "C" NOT NULL CHECK (state IN ('creating', 'ready', 'updating', 'deleting', 'failed')),
    created_at   BIGINT NOT NULL,
    updated_at   BIGINT NOT NULL,
    UNIQUE (tenant, kind, name)
);
CREATE INDEX resource_by_kind ON resource (kind, id);

-- Status has a table of its own, so that a report changes no ETag.
CREATE TABLE status (
    resource   TEXT COLLATE "C" NOT NULL PRIMARY KEY REFERENCES resource (id) ON DELETE CASCADE,
    tenant     TEXT COLLATE "C" NOT NULL,
    body       TEXT COLLATE "C" NOT NULL,
    updated_at BIGINT NOT NULL
);

CREATE TABLE condition (
    resource TEXT COLLATE "C" NOT NULL REFERENCES resource (id) ON DELETE CASCADE,
    tenant   TEXT COLLATE "C" NOT NULL,
    name     TEXT COLLATE "C" NOT NULL,
    holds    BIGINT NOT NULL,
    reason   TEXT COLLATE "C",
    since    BIGINT NOT NULL,
    PRIMARY KEY (resource, name)
);

CREATE TABLE tag (
    resource TEXT COLLATE "C" NOT NULL REFERENCES resource (id) ON DELETE CASCADE,
    tenant   TEXT COLLATE "C" NOT NULL,
    name     TEXT COLLATE "C" NOT NULL,
    value    TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (resource, name)
);
CREATE INDEX tag_by_value ON tag (tenant, name, value);

-- Which resource refers to which; what is referred to cannot go.
CREATE TABLE reference (
    source TEXT COLLATE "C" NOT NULL REFERENCES resource (id) ON DELETE CASCADE,
    target TEXT COLLATE "C" NOT NULL REFERENCES resource (id),
    tenant TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (source, target)
);
CREATE INDEX reference_by_target ON reference (target);

-- Allocations. They return to their pools when every target that holds them has confirmed that it does not.
CREATE TABLE slot (
    router  TEXT COLLATE "C" NOT NULL REFERENCES target (id),
    slot    BIGINT NOT NULL,
    tenant  TEXT COLLATE "C" NOT NULL,
    network TEXT COLLATE "C" NOT NULL UNIQUE REFERENCES resource (id),
    PRIMARY KEY (router, slot)
);

CREATE TABLE segment (
    segment BIGINT NOT NULL PRIMARY KEY,
    tenant  TEXT COLLATE "C" NOT NULL,
    network TEXT COLLATE "C" NOT NULL UNIQUE REFERENCES resource (id)
);

CREATE TABLE subnet (
    network       TEXT COLLATE "C" NOT NULL PRIMARY KEY REFERENCES resource (id),
    tenant        TEXT COLLATE "C" NOT NULL,
    router        TEXT COLLATE "C" NOT NULL REFERENCES target (id),
    first_address BIGINT NOT NULL,
    last_address  BIGINT NOT NULL,
    UNIQUE (router, first_address)
);

-- An address without an instance rests until the hour given. Served means that the router is to know its lease.
CREATE TABLE address (
    network     TEXT COLLATE "C" NOT NULL REFERENCES resource (id) ON DELETE CASCADE,
    address     BIGINT NOT NULL,
    tenant      TEXT COLLATE "C" NOT NULL,
    instance    TEXT COLLATE "C" UNIQUE REFERENCES resource (id),
    served      BIGINT NOT NULL DEFAULT 0,
    rests_until BIGINT,
    PRIMARY KEY (network, address)
);

CREATE TABLE mac (
    mac      TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    tenant   TEXT COLLATE "C" NOT NULL,
    instance TEXT COLLATE "C" NOT NULL UNIQUE REFERENCES resource (id)
);

CREATE TABLE placement (
    instance   TEXT COLLATE "C" NOT NULL PRIMARY KEY REFERENCES resource (id),
    tenant     TEXT COLLATE "C" NOT NULL,
    hypervisor TEXT COLLATE "C" NOT NULL REFERENCES target (id)
);
CREATE INDEX placement_by_hypervisor ON placement (hypervisor);

CREATE TABLE peer_address (
    address     BIGINT NOT NULL PRIMARY KEY,
    tenant      TEXT COLLATE "C" NOT NULL,
    peer        TEXT COLLATE "C" UNIQUE REFERENCES resource (id),
    rests_until BIGINT
);

-- Which peer enters which network. Served means that the network's router is to know the peer.
CREATE TABLE admission (
    peer    TEXT COLLATE "C" NOT NULL REFERENCES resource (id) ON DELETE CASCADE,
    network TEXT COLLATE "C" NOT NULL REFERENCES resource (id),
    tenant  TEXT COLLATE "C" NOT NULL,
    served  BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (peer, network)
);
CREATE INDEX admission_by_network ON admission (network);

-- Sealed with a key that is not in the database.
CREATE TABLE secret (
    id       TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    tenant   TEXT COLLATE "C" NOT NULL,
    resource TEXT COLLATE "C" NOT NULL REFERENCES resource (id) ON DELETE CASCADE,
    purpose  TEXT COLLATE "C" NOT NULL,
    sealed   BYTEA NOT NULL,
    UNIQUE (resource, purpose)
);

-- What brings changes about. The resource may be gone before its operation is forgotten.
CREATE TABLE operation (
    id            TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    tenant        TEXT COLLATE "C" NOT NULL,
    resource      TEXT COLLATE "C" NOT NULL,
    action        TEXT COLLATE "C" NOT NULL,
    state         TEXT COLLATE "C" NOT NULL CHECK (state IN ('pending', 'running', 'succeeded', 'failed', 'cancelled')),
    attempt       BIGINT NOT NULL DEFAULT 0,
    owner         TEXT COLLATE "C",
    lease_until   BIGINT,
    deadline_at   BIGINT NOT NULL,
    previous_spec TEXT COLLATE "C",
    reason        TEXT COLLATE "C",
    created_at    BIGINT NOT NULL,
    updated_at    BIGINT NOT NULL,
    finished_at   BIGINT
);
CREATE UNIQUE INDEX operation_one_at_a_time ON operation (resource) WHERE state IN ('pending', 'running');
CREATE INDEX operation_by_state ON operation (state, lease_until);
CREATE INDEX operation_by_tenant ON operation (tenant, id);

CREATE TABLE step (
    operation TEXT COLLATE "C" NOT NULL REFERENCES operation (id) ON DELETE CASCADE,
    position  BIGINT NOT NULL,
    tenant    TEXT COLLATE "C" NOT NULL,
    name      TEXT COLLATE "C" NOT NULL,
    state     TEXT COLLATE "C" NOT NULL CHECK (state IN ('pending', 'running', 'done', 'failed', 'undone')),
    reason    TEXT COLLATE "C",
    awaits    TEXT COLLATE "C" NOT NULL DEFAULT '[]',
    PRIMARY KEY (operation, position)
);

-- What targets should hold. A NULL state means gone: the tombstone stays until the target has confirmed it.
CREATE TABLE job (
    target            TEXT COLLATE "C" NOT NULL REFERENCES target (id),
    object            TEXT COLLATE "C" NOT NULL,
    tenant            TEXT COLLATE "C" NOT NULL,
    resource          TEXT COLLATE "C" NOT NULL,
    epoch             BIGINT NOT NULL,
    revision          BIGINT NOT NULL,
    requires          TEXT COLLATE "C" NOT NULL DEFAULT '[]',
    desired           TEXT COLLATE "C",
    reported_epoch    BIGINT NOT NULL DEFAULT 0,
    reported_revision BIGINT NOT NULL DEFAULT 0,
    outcome           TEXT COLLATE "C" CHECK (outcome IN ('applied', 'retrying', 'refused')),
    reason            TEXT COLLATE "C",
    entries           TEXT COLLATE "C" NOT NULL DEFAULT '{}',
    updated_at        BIGINT NOT NULL,
    PRIMARY KEY (target, object)
);
CREATE INDEX job_by_resource ON job (resource);

CREATE TABLE event (
    sequence  BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant    TEXT COLLATE "C" NOT NULL,
    at        BIGINT NOT NULL,
    kind      TEXT COLLATE "C" NOT NULL,
    resource  TEXT COLLATE "C" NOT NULL,
    name      TEXT COLLATE "C" NOT NULL,
    change    TEXT COLLATE "C" NOT NULL,
    state     TEXT COLLATE "C" NOT NULL,
    operation TEXT COLLATE "C",
    message   TEXT COLLATE "C"
);
CREATE INDEX event_by_tenant ON event (tenant, sequence);
