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
