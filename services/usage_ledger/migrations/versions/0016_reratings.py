"""Corrections of attempts that were charged by a wrong price: kept beside the attempts, which never change."""

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

_STATEMENTS = (
    """CREATE TABLE reratings (
        rerate_id    text        PRIMARY KEY CHECK (rerate_id ~ '^[A-Za-z0-9_.:-]{1,100}$'),
        provider     text        NOT NULL,
        model        text        NOT NULL,
        since        timestamptz NOT NULL,
        until        timestamptz NOT NULL,
        plan_version text        NOT NULL,
        reason       text        NOT NULL,
        actor        text        NOT NULL
    )""",
    """CREATE TABLE rerated_tenants (
        rerate_id            text    NOT NULL REFERENCES reratings,
        tenant               text    NOT NULL,
        examined             bigint  NOT NULL CHECK (examined >= 0),
        corrected            bigint  NOT NULL CHECK (corrected >= 0),
        unknown              bigint  NOT NULL CHECK (unknown >= 0),
        cost_difference_usd  numeric NOT NULL,
        charged_micro_usd    numeric NOT NULL CHECK (charged_micro_usd >= 0),
        refunded_micro_usd   numeric NOT NULL CHECK (refunded_micro_usd >= 0),
        absorbed_micro_usd   numeric NOT NULL,
        PRIMARY KEY (rerate_id, tenant)
    )""",
    """CREATE TABLE rerated_attempts (
        sequence                  bigint  NOT NULL GENERATED ALWAYS AS IDENTITY,
        rerate_id                 text    NOT NULL REFERENCES reratings,
        attempt_id                text COLLATE "C" NOT NULL,
        tenant                    text    NOT NULL,
        cost_usd_before           numeric(24, 12),
        cost_usd                  numeric(24, 12),
        price_version_before      text,
        price_version             text,
        plan_version_before       text,
        plan_version              text,
        charge_micro_usd_before   bigint  CHECK (charge_micro_usd_before >= 0),
        charge_micro_usd          bigint  CHECK (charge_micro_usd >= 0),
        absorbed_micro_usd_before bigint  NOT NULL CHECK (absorbed_micro_usd_before >= 0),
        absorbed_micro_usd        bigint  NOT NULL CHECK (absorbed_micro_usd >= 0),
        PRIMARY KEY (rerate_id, attempt_id),
        CONSTRAINT charged_as_before CHECK ((charge_micro_usd IS NULL) = (charge_micro_usd_before IS NULL))
    )""",
    "CREATE INDEX rerated_attempts_latest ON rerated_attempts (attempt_id, sequence DESC)",
    """CREATE FUNCTION reratings_are_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION 'corrections of attempts are never changed: a new re-rating corrects an earlier one'
            USING ERRCODE = 'restrict_violation';
    END $$""",
    *(
        f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}"
        " FOR EACH STATEMENT EXECUTE FUNCTION reratings_are_append_only()"
        for table in ("reratings", "rerated_tenants", "rerated_attempts")
    ),
)


def upgrade() -> None:
    """Create the tables."""
    for statement in _STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    """Refuse: these tables hold accounts."""
    raise NotImplementedError("migrations only go forward; restore a backup to go back")
