"""Accounts and append-only transfers between them, guarded by the database: no account of a tenant is ever overdrawn.

Balances are changed by inserting transfers and in no other way: a trigger adds them up and checks what a row alone does not
show. Functions name the schema, since they run with the search path of the session that inserts.
"""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_ACCOUNTS = """
CREATE TABLE accounts (
    name            text        PRIMARY KEY
                    CHECK (name ~ '^[a-z]+(/[A-Za-z0-9_.-]+)+$' AND length(name) <= 200),
    kind            text        GENERATED ALWAYS AS (split_part(name, '/', 1)) STORED,
    unit            text        NOT NULL CHECK (unit IN ('micro_usd', 'requests')),
    parent          text        REFERENCES accounts (name),
    debits_posted   bigint      NOT NULL DEFAULT 0 CHECK (debits_posted >= 0),
    credits_posted  bigint      NOT NULL DEFAULT 0 CHECK (credits_posted >= 0),
    debits_pending  bigint      NOT NULL DEFAULT 0 CHECK (debits_pending >= 0),
    credits_pending bigint      NOT NULL DEFAULT 0 CHECK (credits_pending >= 0),
    is_positive     boolean     GENERATED ALWAYS AS (credits_posted > debits_posted) STORED,
    opened_at       timestamptz NOT NULL,
    CONSTRAINT accounts_have_a_known_kind
        CHECK (split_part(name, '/', 1) IN ('credits', 'allowance', 'budget', 'lease', 'platform')),
    CONSTRAINT accounts_leases_have_a_parent CHECK ((split_part(name, '/', 1) = 'lease') = (parent IS NOT NULL)),
    CONSTRAINT accounts_never_overdrawn
        CHECK (split_part(name, '/', 1) = 'platform' OR debits_posted + debits_pending <= credits_posted)
)
"""
_TRANSFERS = """
CREATE TABLE transfers (
    id          text        PRIMARY KEY CHECK (id ~ '^[\\x21-\\x7e]{1,200}$'),
    sequence    bigint      NOT NULL GENERATED ALWAYS AS IDENTITY,
    debit       text        NOT NULL REFERENCES accounts (name),
    credit      text        NOT NULL REFERENCES accounts (name),
    unit        text        NOT NULL,
    amount      bigint      NOT NULL CHECK (amount > 0 AND amount <= 1000000000000000),
    purpose     text        NOT NULL CHECK (purpose ~ '^[a-z_]{1,40}$'),
    phase       text        NOT NULL CHECK (phase IN ('posted', 'pending', 'post', 'void', 'expire')),
    pending_id  text,
    expires_at  timestamptz,
    reason      text,
    actor       text,
    source      text,
    source_id   text,
    recorded_at timestamptz NOT NULL,
    CONSTRAINT transfers_between_allowed_accounts CHECK (
        CASE split_part(debit, '/', 1)
            WHEN 'platform' THEN split_part(credit, '/', 1) <> 'lease' AND debit <> credit
            WHEN 'lease' THEN split_part(credit, '/', 1) <> 'lease'
            ELSE split_part(credit, '/', 1) IN ('lease', 'platform')
        END),
    CONSTRAINT transfers_resolve_a_pending_one
        CHECK ((pending_id IS NOT NULL) = (phase IN ('post', 'void', 'expire'))),
    CONSTRAINT transfers_expire_while_pending CHECK (expires_at IS NULL OR phase = 'pending'),
    CONSTRAINT transfers_source_has_an_id CHECK ((source IS NULL) = (source_id IS NULL))
)
"""
_DAYS = """
CREATE TABLE account_days (
    account   text        NOT NULL REFERENCES accounts (name),
    day       date        NOT NULL,
    amount    bigint      NOT NULL CHECK (amount > 0),
    transfers bigint      NOT NULL CHECK (transfers > 0),
    last_at   timestamptz NOT NULL,
    PRIMARY KEY (account, day)
)
"""
_INDEXES = (
    "CREATE UNIQUE INDEX transfers_one_resolution ON transfers (pending_id) WHERE pending_id IS NOT NULL",
    "CREATE UNIQUE INDEX transfers_one_per_source ON transfers (source, source_id) WHERE source IS NOT NULL",
    "CREATE INDEX transfers_to_expire ON transfers (expires_at) WHERE phase = 'pending' AND expires_at IS NOT NULL",
    # A person reads an account's grants and corrections one by one; leases and settlements only as sums of days.
    "CREATE INDEX transfers_from_platform ON transfers (credit, sequence) WHERE debit LIKE 'platform/%'",
    """CREATE INDEX transfers_to_platform ON transfers (debit, sequence)
    WHERE credit LIKE 'platform/%' AND debit NOT LIKE 'lease/%'""",
    "CREATE INDEX accounts_positive_leases ON accounts (parent) WHERE parent IS NOT NULL AND is_positive",
)
_CHECK_ADDED = """
    SELECT added.id INTO refused
    FROM added JOIN usage_ledger.accounts payee ON payee.name = added.credit
    WHERE payee.unit <> added.unit OR (payee.parent IS NOT NULL AND payee.parent <> added.debit)
    LIMIT 1;
    IF refused IS NULL THEN
        SELECT added.id INTO refused
        FROM added JOIN usage_ledger.accounts payer ON payer.name = added.debit
        WHERE payer.unit <> added.unit
            OR (payer.parent IS NOT NULL AND payer.parent <> added.credit AND added.credit NOT LIKE 'platform/%')
        LIMIT 1;
    END IF;
    IF refused IS NOT NULL THEN
        RAISE EXCEPTION 'transfer % is between accounts of two units, or a lease and an account that it is not of', refused
            USING ERRCODE = 'check_violation';
    END IF;
    SELECT added.id INTO refused
    FROM added LEFT JOIN usage_ledger.transfers pending ON pending.id = added.pending_id AND pending.phase = 'pending'
    WHERE added.pending_id IS NOT NULL AND (
        pending.id IS NULL
        OR pending.debit <> added.debit OR pending.credit <> added.credit OR pending.unit <> added.unit
        OR added.amount > pending.amount OR (added.phase <> 'post' AND added.amount <> pending.amount)
        OR (added.phase = 'expire') <> COALESCE(added.recorded_at >= pending.expires_at, false))
    LIMIT 1;
    IF refused IS NOT NULL THEN
        RAISE EXCEPTION 'transfer % does not resolve its pending transfer as it may be', refused
            USING ERRCODE = 'check_violation';
    END IF;
"""
_POST_ADDED = """
    UPDATE usage_ledger.accounts
    SET debits_posted = accounts.debits_posted + change.debits_posted,
        credits_posted = accounts.credits_posted + change.credits_posted,
        debits_pending = accounts.debits_pending + change.debits_pending,
        credits_pending = accounts.credits_pending + change.credits_pending
    FROM (
        SELECT side.name,
               sum(counted) FILTER (WHERE side.is_debit) AS debits_posted,
               sum(counted) FILTER (WHERE NOT side.is_debit) AS credits_posted,
               sum(aside) FILTER (WHERE side.is_debit) AS debits_pending,
               sum(aside) FILTER (WHERE NOT side.is_debit) AS credits_pending
        FROM (
            SELECT added.debit, added.credit,
                   CASE WHEN added.phase IN ('posted', 'post') THEN added.amount ELSE 0 END AS counted,
                   CASE WHEN added.phase = 'pending' THEN added.amount ELSE 0 END - COALESCE(pending.amount, 0) AS aside
            FROM added LEFT JOIN usage_ledger.transfers pending ON pending.id = added.pending_id
        ) change
        CROSS JOIN LATERAL (VALUES (change.debit, true), (change.credit, false)) side (name, is_debit)
        GROUP BY side.name
    ) summed
    CROSS JOIN LATERAL (
        SELECT COALESCE(summed.debits_posted, 0)::bigint AS debits_posted,
               COALESCE(summed.credits_posted, 0)::bigint AS credits_posted,
               COALESCE(summed.debits_pending, 0)::bigint AS debits_pending,
               COALESCE(summed.credits_pending, 0)::bigint AS credits_pending
    ) change
    WHERE accounts.name = summed.name;
    INSERT INTO usage_ledger.account_days (account, day, amount, transfers, last_at)
    SELECT lease.parent, (added.recorded_at AT TIME ZONE 'UTC')::date, sum(added.amount), count(*), max(added.recorded_at)
    FROM added JOIN usage_ledger.accounts lease ON lease.name = added.debit
    WHERE lease.parent IS NOT NULL AND added.credit LIKE 'platform/%' AND added.phase IN ('posted', 'post')
    GROUP BY 1, 2 ORDER BY 1, 2
    ON CONFLICT (account, day) DO UPDATE
    SET amount = account_days.amount + excluded.amount,
        transfers = account_days.transfers + excluded.transfers,
        last_at = greatest(account_days.last_at, excluded.last_at);
"""
_POST_FUNCTION = f"""
CREATE FUNCTION post_transfers() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE refused text;
BEGIN
{_CHECK_ADDED}
{_POST_ADDED}
    RETURN NULL;
END $$
"""
_REFUSALS = """
CREATE FUNCTION transfers_are_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'transfers are never changed or removed; post another one that corrects it';
END $$;
CREATE FUNCTION accounts_follow_transfers() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('keyferry.rebuilding', true) IS DISTINCT FROM 'on' THEN
        RAISE EXCEPTION 'accounts change by transfers alone, and are never removed';
    END IF;
    RETURN NEW;
END $$;
CREATE FUNCTION accounts_keep_what_they_are() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'an account keeps its name, unit and parent, and is never removed';
END $$;
"""
_TRIGGERS = """
CREATE TRIGGER transfers_post AFTER INSERT ON transfers REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION post_transfers();
CREATE TRIGGER transfers_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON transfers
    FOR EACH STATEMENT EXECUTE FUNCTION transfers_are_append_only();
CREATE TRIGGER accounts_balances BEFORE UPDATE ON accounts
    FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION accounts_follow_transfers();
CREATE TRIGGER accounts_begin_empty BEFORE INSERT ON accounts
    FOR EACH ROW WHEN (NEW.debits_posted + NEW.credits_posted + NEW.debits_pending + NEW.credits_pending <> 0)
    EXECUTE FUNCTION accounts_follow_transfers();
CREATE TRIGGER accounts_fixed BEFORE UPDATE OF name, unit, parent, opened_at ON accounts
    FOR EACH STATEMENT EXECUTE FUNCTION accounts_keep_what_they_are();
CREATE TRIGGER accounts_stay BEFORE DELETE OR TRUNCATE ON accounts
    FOR EACH STATEMENT EXECUTE FUNCTION accounts_keep_what_they_are();
"""


def upgrade() -> None:
    """Create the tables, and the triggers that guard them."""
    for statement in (_ACCOUNTS, _TRANSFERS, _DAYS, *_INDEXES, _POST_FUNCTION, _REFUSALS, _TRIGGERS):
        op.execute(statement)
    # Triggers prevent accidents, and this a change by anyone who did not first grant it to himself.
    op.execute("REVOKE UPDATE, DELETE, TRUNCATE ON transfers FROM CURRENT_USER")
    op.execute("REVOKE DELETE, TRUNCATE ON accounts FROM CURRENT_USER")


def downgrade() -> None:
    """Refuse: these tables hold accounts."""
    raise NotImplementedError("migrations only go forward; restore a backup to go back")
