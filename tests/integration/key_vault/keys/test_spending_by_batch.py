"""Spending of many keys: in the vault each batch is one transaction, and a limit bites with the message that reaches it."""

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import cast

from nats.aio.msg import Msg
from sqlalchemy import event

from keyferry.contracts.key import KeySpend, KeySpends
from keyferry.contracts.topology import KEYS_SPENT
from services.key_vault.keys.spend_limits import SpendLimits
from tests.integration.key_vault.vault_database import VaultDatabase

NOW = datetime(2026, 11, 2, tzinfo=UTC)
KEYS = 1000
PER_MESSAGE = 500


def figure(key_id: str, tenant: str, usd: int, month: str = "2026-11") -> KeySpend:
    return KeySpend(
        key_id=key_id, tenant=tenant, month=month, spent_usd=Decimal(usd), attempts=usd, unpriced=0, last_used_at=NOW
    )


def messages(spends: Sequence[KeySpend]) -> list[Msg]:
    parts = [list(spends[first : first + PER_MESSAGE]) for first in range(0, len(spends), PER_MESSAGE)]
    return [
        cast(Msg, SimpleNamespace(subject=KEYS_SPENT.format(), data=KeySpends(spends=part).encode())) for part in parts
    ]


async def test_a_thousand_keys_are_recorded_in_one_transaction_and_limits_bite(vault: VaultDatabase) -> None:
    vault.execute(
        "INSERT INTO key_vault.provider_keys"
        " (key_id, tenant, provider, label, status, version, origin, base_url, fields, priority, weight, over_limit,"
        "  models, masked, fingerprint, created_at, created_by, monthly_limit_usd)"
        " SELECT 'key_' || lpad(n::text, 4, '0'), 'tenant-' || mod(n, 100), 'openai', 'main ' || n, 'valid', 1,"
        "  'https://api.openai.com', 'https://api.openai.com/v1', '{}', 100, 1, false, '{}', 'sk-…', left(md5(n::text), 16),"
        f"  now(), 'operator', 10 FROM generate_series(0, {KEYS - 1}) AS n"
    )
    commits: list[object] = []
    engine = vault.engine.sync_engine
    event.listen(engine, "commit", commits.append)
    changes: list[None] = []
    limits = SpendLimits(vault.stores.keys, lambda: changes.append(None), lambda: NOW)
    keys = [(f"key_{number:04}", f"tenant-{number % 100}") for number in range(KEYS)]
    under = [figure(key_id, tenant, 9) for key_id, tenant in keys]
    await limits.on_spent(messages(under))
    assert (len(commits), changes) == (1, [])
    # Seven keys reach their limit; a figure of an earlier moment comes after it, and everything comes twice.
    over = [figure(key_id, tenant, 10) for key_id, tenant in keys[::150]]
    for _ in range(2):
        await limits.on_spent(
            messages([*over, *under, figure("key_gone", "tenant-1", 99), figure("key_0001", "thief", 99)])
        )
    blocked = vault.rows("SELECT key_id, spent_usd FROM key_vault.provider_keys WHERE over_limit ORDER BY key_id")
    assert blocked == [{"key_id": spent.key_id, "spent_usd": Decimal(10)} for spent in over]
    assert len(changes) == 1
    usd = Decimal(9 * KEYS + len(over))
    totals = vault.rows(
        "SELECT count(*) AS keys, sum(spent_usd) AS usd, sum(attempts) AS attempts FROM key_vault.spend"
    )
    assert totals == [{"keys": KEYS, "usd": usd, "attempts": usd}]
    # The next month begins with nothing spent.
    await limits.on_spent(messages([figure(spent.key_id, spent.tenant, 1, "2026-12") for spent in over]))
    december = vault.rows("SELECT DISTINCT spent_usd FROM key_vault.provider_keys WHERE spend_month = '2026-12'")
    assert december == [{"spent_usd": Decimal(1)}]
