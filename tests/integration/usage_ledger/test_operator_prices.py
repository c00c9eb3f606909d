"""Prices that operators set reach a running ledger; an attempt has the price of the moment when it began, for good."""

from datetime import timedelta
from decimal import Decimal

from keyferry.contracts.price_edits import PriceEntry, TokenPrices
from keyferry.contracts.usage import TokenUsage
from tests.integration.usage_ledger.processes import LedgerServers
from tests.support.ledger.attempt_records import attempt_record
from tests.support.waiting import eventually


async def test_a_price_acts_without_a_restart_and_leaves_earlier_attempts_alone(servers: LedgerServers) -> None:
    usage = TokenUsage(input=1_000_000)
    before = attempt_record(provider="lab", model="m", token_usage=usage)
    after = attempt_record(provider="lab", model="m", token_usage=usage, started_at=before.started_at + timedelta(1))
    late = attempt_record(provider="lab", model="m", token_usage=usage, started_at=before.started_at)
    entry = PriceEntry(
        provider="lab",
        model="m",
        effective=before.started_at + timedelta(hours=1),
        prices=TokenPrices(input=Decimal("2.5")),
        revision=7,
        changed_at=before.started_at,
        changed_by="operator",
    )
    async with servers.in_process() as service, servers.worker() as worker:
        await worker.publish([before.encode()])
        await worker.until_confirmed([before])
        await servers.publish_prices({"one": entry})
        await eventually("the ledger knows the price", lambda: service.facts()["operator_prices"] == "1")
        await worker.publish([after.encode(), late.encode()])
        await worker.until_confirmed([after, late])
    rows = servers.attempts()
    assert {row["attempt_id"]: (row["pricing"], row["cost_usd"], row["price_version"]) for row in rows} == {
        before.attempt_id: ("unpriced", None, None),
        after.attempt_id: ("priced", Decimal("2.5"), "operator 7"),
        late.attempt_id: ("unpriced", None, None),
    }
