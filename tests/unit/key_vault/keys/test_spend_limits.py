"""Spending reports are believed only for the tenant that their subject names."""

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import cast

from nats.aio.msg import Msg

from keyferry.contracts.key import KeySpend, ProviderKey
from keyferry.contracts.topology import KEY_SPENT
from services.key_vault.keys.spend_limits import SpendLimits
from services.key_vault.keys.store import KeyStore

NOW = datetime(2026, 11, 2, tzinfo=UTC)
SPENT = KeySpend(
    key_id="key_1", month="2026-11", tenant="acme", spent_usd=Decimal(5), attempts=1, unpriced=0, last_used_at=NOW
)


class Store:
    """A store without keys that records what it is given."""

    def __init__(self) -> None:
        self.recorded: list[KeySpend] = []

    async def record_spending(self, spends: Sequence[KeySpend]) -> list[ProviderKey]:
        self.recorded.extend(spends)
        return []


def message(tenant: str, data: bytes) -> Msg:
    return cast(Msg, SimpleNamespace(subject=KEY_SPENT.format(tenant=tenant), data=data))


async def test_a_report_of_another_tenants_key_is_skipped_and_the_next_one_recorded() -> None:
    store = Store()
    limits = SpendLimits(cast(KeyStore, store), lambda: None, lambda: NOW)
    await limits.on_spent([message("other", SPENT.encode()), message("acme", b"}{"), message("acme", SPENT.encode())])
    assert store.recorded == [SPENT]
