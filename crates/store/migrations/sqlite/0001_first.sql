-- Every row has a tenant. Times are milliseconds since 1970. Addresses are IPv4 as integers.

CREATE TABLE installation (
    name  TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
);

-- Who may call.
CREATE TABLE token (
    id         TEXT NOT NULL PRIMARY KEY,
    tenant     TEXT NOT NULL,
    name       TEXT NOT NULL,
    sha256     TEXT NOT NULL UNIQUE,
    scopes     TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    revoked_at BIGINT
);

-- Routers and hypervisors, and the agents that work them.
CREATE TABLE target (
    id         TEXT NOT NULL PRIMARY KEY,
    tenant     TEXT NOT NULL,
    kind       TEXT NOT NULL CHECK (kind IN ('router', 'hypervisor')),
    name       TEXT NOT NULL,
    capacity   TEXT NOT NULL DEFAULT '{}',
    created_at BIGINT NOT NULL,
    UNIQUE (tenant, kind, name)
);

CREATE TABLE agent (
    id           TEXT NOT NULL PRIMARY KEY,
    tenant       TEXT NOT NULL,
    target       TEXT NOT NULL REFERENCES target (id),
    session      BIGINT NOT NULL DEFAULT 0,
    connected    BIGINT NOT NULL DEFAULT 0,
    software     TEXT,
    features     TEXT NOT NULL DEFAULT '[]',
    last_seen_at BIGINT,
    created_at   BIGINT NOT NULL
);
CREATE INDEX agent_by_target ON agent (target);

CREATE TABLE invitation (
    id         TEXT NOT NULL PRIMARY KEY,
    tenant     TEXT NOT NULL,
    target     TEXT NOT NULL REFERENCES target (id),
    sha256     TEXT NOT NULL,
    expires_at BIGINT NOT NULL,
    used_at    BIGINT,
    -- Who used it: the digest of the agent's key, so that the same agent may ask again after a crash.
    key_sha256 TEXT,
    agent      TEXT REFERENCES agent (id)
);

-- What people asked for.
CREATE TABLE resource (
    id           TEXT NOT NULL PRIMARY KEY,
    tenant       TEXT NOT NULL,
    kind         TEXT NOT NULL,
    name         TEXT NOT NULL,
    generation   BIGINT NOT NULL,
    spec_version BIGINT NOT NULL,
    spec         TEXT NOT NULL,
    state        TEXT NOT NULL CHECK (state IN ('creating', 'ready', 'updating', 'deleting', 'failed')),
    created_at   BIGINT NOT NULL,
    updated_at   BIGINT NOT NULL,
    UNIQUE (tenant, kind, name)
);
CREATE INDEX resource_by_kind ON resource (kind, id);

-- Status has a table of its own, so that a report changes no ETag.
CREATE TABLE status (
    resource   TEXT NOT NULL PRIMARY KEY REFERENCES resource (id) ON DELETE CASCADE,
    tenant     TEXT NOT NULL,
    body       TEXT NOT NULL,
    updated_at BIGINT NOT NULL
);

CREATE TABLE condition (
    resource TEXT NOT NULL REFERENCES resource (id) ON DELETE CASCADE,
    tenant   TEXT NOT NULL,
    name     TEXT NOT NULL,
    holds    BIGINT NOT NULL,
    reason   TEXT,
    since    BIGINT NOT NULL,
    PRIMARY KEY (resource, name)
);

CREATE TABLE tag (
    resource TEXT NOT NULL REFERENCES resource (id) ON DELETE CASCADE,
    tenant   TEXT NOT NULL,
    name     TEXT NOT NULL,
    value    TEXT NOT NULL,
    PRIMARY KEY (resource, name)
);
CREATE INDEX tag_by_value ON tag (tenant, name, value);

-- Which resource refers to which; what is referred to cannot go.
CREATE TABLE reference (
    source TEXT NOT NULL REFERENCES resource (id) ON DELETE CASCADE,
    target TEXT NOT NULL REFERENCES resource (id),
    tenant TEXT NOT NULL,
    PRIMARY KEY (source, target)
);
CREATE INDEX reference_by_target ON reference (target);

-- Allocations. They return to their pools when every target that holds them has confirmed that it does not.
CREATE TABLE slot (
    router  TEXT NOT NULL REFERENCES target (id),
    slot    BIGINT NOT NULL,
    tenant  TEXT NOT NULL,
    network TEXT NOT NULL UNIQUE REFERENCES resource (id),
    PRIMARY KEY (router, slot)
);

CREATE TABLE segment (
    segment BIGINT NOT NULL PRIMARY KEY,
    tenant  TEXT NOT NULL,
    network TEXT NOT NULL UNIQUE REFERENCES resource (id)
);

CREATE TABLE subnet (
    network       TEXT NOT NULL PRIMARY KEY REFERENCES resource (id),
    tenant        TEXT NOT NULL,
    router        TEXT NOT NULL REFERENCES target (id),
    first_address BIGINT NOT NULL,
    last_address  BIGINT NOT NULL,
    UNIQUE (router, first_address)
);

-- An address without an instance rests until the hour given. Served means that the router is to know its lease.
CREATE TABLE address (
    network     TEXT NOT NULL REFERENCES resource (id) ON DELETE CASCADE,
    address     BIGINT NOT NULL,
    tenant      TEXT NOT NULL,
    instance    TEXT UNIQUE REFERENCES resource (id),
    served      BIGINT NOT NULL DEFAULT 0,
    rests_until BIGINT,
    PRIMARY KEY (network, address)
);

CREATE TABLE mac (
    mac      TEXT NOT NULL PRIMARY KEY,
    tenant   TEXT NOT NULL,
    instance TEXT NOT NULL UNIQUE REFERENCES resource (id)
);

CREATE TABLE placement (
    instance   TEXT NOT NULL PRIMARY KEY REFERENCES resource (id),
    tenant     TEXT NOT NULL,
    hypervisor TEXT NOT NULL REFERENCES target (id)
);
CREATE INDEX placement_by_hypervisor ON placement (hypervisor);

CREATE TABLE peer_address (
    address     BIGINT NOT NULL PRIMARY KEY,
    tenant      TEXT NOT NULL,
    peer        TEXT UNIQUE REFERENCES resource (id),
    rests_until BIGINT
);

-- Which peer enters which network. Served means that the network's router is to know the peer.
CREATE TABLE admission (
    peer    TEXT NOT NULL REFERENCES resource (id) ON DELETE CASCADE,
    network TEXT NOT NULL REFERENCES resource (id),
    tenant  TEXT NOT NULL,
    served  BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (peer, network)
);
CREATE INDEX admission_by_network ON admission (network);

-- Sealed with a key that is not in the database.
CREATE TABLE secret (
    id       TEXT NOT NULL PRIMARY KEY,
    tenant   TEXT NOT NULL,
    resource TEXT NOT NULL REFERENCES resource (id) ON DELETE CASCADE,
    purpose  TEXT NOT NULL,
    sealed   BLOB NOT NULL,
    UNIQUE (resource, purpose)
);

-- What brings changes about. The resource may be gone before its operation is forgotten.
CREATE TABLE operation (
    id            TEXT NOT NULL PRIMARY KEY,
    tenant        TEXT NOT NULL,
    resource      TEXT NOT NULL,
    action        TEXT NOT NULL,
    state         TEXT NOT NULL CHECK (state IN ('pending', 'running', 'succeeded', 'failed', 'cancelled')),
    attempt       BIGINT NOT NULL DEFAULT 0,
    owner         TEXT,
    lease_until   BIGINT,
    deadline_at   BIGINT NOT NULL,
    previous_spec TEXT,
    reason        TEXT,
    created_at    BIGINT NOT NULL,
    updated_at    BIGINT NOT NULL,
    finished_at   BIGINT
);
CREATE UNIQUE INDEX operation_one_at_a_time ON operation (resource) WHERE state IN ('pending', 'running');
CREATE INDEX operation_by_state ON operation (state, lease_until);
CREATE INDEX operation_by_tenant ON operation (tenant, id);

CREATE TABLE step (
    operation TEXT NOT NULL REFERENCES operation (id) ON DELETE CASCADE,
    position  BIGINT NOT NULL,
    tenant    TEXT NOT NULL,
    name      TEXT NOT NULL,
    state     TEXT NOT NULL CHECK (state IN ('pending', 'running', 'done', 'failed', 'undone')),
    reason    TEXT,
    awaits    TEXT NOT NULL DEFAULT '[]',
    PRIMARY KEY (operation, position)
);

-- What targets should hold. A NULL state means gone: the tombstone stays until the target has confirmed it.
CREATE TABLE job (
    target            TEXT NOT NULL REFERENCES target (id),
    object            TEXT NOT NULL,
    tenant            TEXT NOT NULL,
    resource          TEXT NOT NULL,
    epoch             BIGINT NOT NULL,
    revision          BIGINT NOT NULL,
    requires          TEXT NOT NULL DEFAULT '[]',
    desired           TEXT,
    reported_epoch    BIGINT NOT NULL DEFAULT 0,
    reported_revision BIGINT NOT NULL DEFAULT 0,
    outcome           TEXT CHECK (outcome IN ('applied', 'retrying', 'refused')),
    reason            TEXT,
    entries           TEXT NOT NULL DEFAULT '{}',
    updated_at        BIGINT NOT NULL,
    PRIMARY KEY (target, object)
);
CREATE INDEX job_by_resource ON job (resource);

CREATE TABLE event (
    sequence  INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant    TEXT NOT NULL,
    at        BIGINT NOT NULL,
    kind      TEXT NOT NULL,
    resource  TEXT NOT NULL,
    name      TEXT NOT NULL,
    change    TEXT NOT NULL,
    state     TEXT NOT NULL,
    operation TEXT,
    message   TEXT
);
CREATE INDEX event_by_tenant ON event (tenant, sequence);
