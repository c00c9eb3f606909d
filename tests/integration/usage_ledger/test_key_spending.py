"""The spending of a provider key is published after its attempts are recorded, as the sum of the month."""

import asyncio
from datetime import UTC, datetime
from decimal import Decimal

from nats.aio.msg import Msg

from keyferry.contracts.key import KeySpend
from keyferry.contracts.topology import KEY_SPENT, Role
from keyferry.contracts.usage import KeySource, TokenUsage
from tests.integration.usage_ledger.processes import TIMEOUT_SECONDS, LedgerServers
from tests.support.ledger.attempt_records import attempt_record

MONTH = datetime(2026, 10, 5, tzinfo=UTC)
KEY = "key_of_acme"


async def test_spending_is_published_by_key_and_month(servers: LedgerServers) -> None:
    async with servers.in_process(), servers.installation.client(Role.PROVISIONER) as listener:
        received: asyncio.Queue[KeySpend] = asyncio.Queue()

        async def record_all(message: Msg) -> None:
            received.put_nowait(KeySpend.decode(message.data))

        await listener.subscribe(KEY_SPENT.pattern(), cb=record_all)
        await listener.flush()
        million = TokenUsage(input=1_000_000)
        rows = [
            attempt_record(provider="echo", model="echo", token_usage=million, spool_seq=seq).model_copy(
                update={"key_id": KEY, "key_source": KeySource.BYOK, "tenant": "acme", "started_at": MONTH}
            )
            for seq in (1, 2)
        ]
        platform = attempt_record(provider="nobody", model="unknown", token_usage=million, spool_seq=3).model_copy(
            update={"key_id": "key_of_platform", "key_source": KeySource.PLATFORM, "started_at": MONTH}
        )
        async with servers.worker() as worker:
            await worker.publish([record.encode() for record in (*rows, platform)])
            found: dict[str, KeySpend] = {}
            async with asyncio.timeout(TIMEOUT_SECONDS):
                while len(found) < 2 or found[KEY].attempts < 2:
                    spend = await received.get()
                    found[spend.key_id] = spend
    assert found[KEY].model_dump(exclude={"last_used_at"}) == {
        "key_id": KEY,
        "tenant": "acme",
        "month": "2026-10",
        "spent_usd": Decimal("0.2"),
        "attempts": 2,
        "unpriced": 0,
    }
    assert found["key_of_platform"].tenant == "platform", "a platform key's calls serve many tenants"
    assert (found["key_of_platform"].spent_usd, found["key_of_platform"].unpriced) == (None, 1)
