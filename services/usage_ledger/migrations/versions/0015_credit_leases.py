"""Leases of accounts to routers, the processes that have them, and how far each worker's attempts are settled."""

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_LEASES = """
CREATE TABLE credit_leases (
    lease_id     text        PRIMARY KEY,
    tenant       text        NOT NULL,
    account      text        NOT NULL,
    router       text        NOT NULL,
    epoch        text        NOT NULL,
    amount       bigint      NOT NULL CHECK (amount > 0),
    given_back   bigint      NOT NULL DEFAULT 0 CHECK (given_back >= 0),
    settled      bigint      NOT NULL DEFAULT 0 CHECK (settled >= 0),
    not_after_ms bigint      NOT NULL,
    state        text        NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'accounted', 'released')),
    granted_at   timestamptz NOT NULL,
    closed_at    timestamptz,
    CONSTRAINT credit_leases_never_exceeded CHECK (given_back + settled <= amount),
    CONSTRAINT credit_leases_close_when_empty CHECK ((state <> 'open') = (given_back + settled = amount)),
    CONSTRAINT credit_leases_have_an_end CHECK ((state <> 'open') = (closed_at IS NOT NULL))
) WITH (fillfactor = 70)
"""
_EPOCHS = """
CREATE TABLE credit_epochs (
    router   text   NOT NULL,
    epoch    text   NOT NULL,
    position bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    PRIMARY KEY (router, epoch)
)
"""
_WATERMARKS = """
CREATE TABLE credit_watermarks (
    worker           text        NOT NULL,
    spool_id         text        NOT NULL,
    position         bigint      NOT NULL,
    settled_until_ms bigint      NOT NULL,
    seen_at          timestamptz NOT NULL,
    PRIMARY KEY (worker, spool_id, position)
)
"""
_INDEXES = (
    "CREATE INDEX credit_leases_open ON credit_leases (not_after_ms) WHERE state = 'open'",
    "CREATE INDEX credit_leases_closed ON credit_leases (closed_at) WHERE state <> 'open'",
    "CREATE INDEX credit_epochs_newest ON credit_epochs (router, position DESC)",
)


def upgrade() -> None:
    """Create the tables."""
    for statement in (_LEASES, _EPOCHS, _WATERMARKS, *_INDEXES):
        op.execute(statement)


def downgrade() -> None:
    """Refuse: the accounts of leases would have no owner."""
    raise NotImplementedError("migrations only go forward; restore a backup to go back")
