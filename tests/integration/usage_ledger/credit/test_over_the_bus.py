"""A lease over the bus: granted to a router, settled by a worker's records, released only past every worker's watermark."""

import time
from collections.abc import Sequence
from datetime import timedelta

import pytest
from sqlalchemy.ext.asyncio import create_async_engine

from keyferry.contracts import ids
from keyferry.contracts.accounts import GRANTED
from keyferry.contracts.credit import (
    RETIRED_UNIX_MS,
    SKEW_MS,
    CreditLease,
    Hold,
    LeaseCredit,
    LeaseResult,
    Reservation,
    ReturnCredit,
)
from keyferry.contracts.credit_workers import DeclareWorkerLost, ListCreditWorkers
from keyferry.contracts.ledger_management import (
    CREDIT_LEASE,
    CREDIT_RETURN,
    CREDIT_WORKER_DECLARE_LOST,
    CREDIT_WORKER_LIST,
)
from keyferry.contracts.topology import Role
from keyferry.contracts.usage import BatchHead
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.bus.requests import Refused
from services.router.credit.reserver import CreditReserver
from services.router.credit.wallet import CreditWallet
from services.usage_ledger.accounts.store import apply_transfers
from services.usage_ledger.accounts.transfer import Transfer, TransferPurpose
from tests.integration.usage_ledger.credit.ledger import NOW
from tests.integration.usage_ledger.processes import LedgerServers, Worker
from tests.support.ledger.attempt_records import WORKER, attempt_record
from tests.support.waiting import eventually

ACCOUNT = "credits/acme"
OTHER_WORKER = "provider-worker-2"
PAID = {
    "provider": "openai",
    "model": "gpt-4o-mini",
    "key_source": "platform",
    "tier": "free",
    "charged_level": "precision",
    "token_usage": {"input": 1000, "output": 500},
}


@pytest.fixture(autouse=True)
def _short_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.usage_ledger.credit.store.LEASE_MS", 1500)
    monkeypatch.setattr("services.usage_ledger.credit.release._INTERVAL_SECONDS", 0.1)


async def fund(servers: LedgerServers, amount: int) -> None:
    engine = create_async_engine(servers.database_url_file.read_text())
    grant = Transfer(
        transfer_id=ids.new("trf"), debit=GRANTED, credit=ACCOUNT, amount=amount, purpose=TransferPurpose.GRANT
    )
    async with engine.begin() as connection:
        await apply_transfers(connection, [grant], NOW)
    await engine.dispose()


def available(servers: LedgerServers) -> int:
    [(found,)] = servers.query(
        f"SELECT credits_posted - debits_posted FROM usage_ledger.accounts WHERE name = '{ACCOUNT}'"
    )
    return int(found)


async def lease(router: Bus, need: int, want: int) -> CreditLease:
    ask = LeaseCredit(tenant="acme", account=ACCOUNT, need=need, want=want, epoch="router-a")
    return await router.ask(CREDIT_LEASE, ask, timeout_seconds=20, router="router")


async def report(worker: Worker, settled_until_ms: int, lines: Sequence[bytes] = ()) -> None:
    head = BatchHead(producer=worker.user, spool_id="spl_1", count=len(lines), settled_until_unix_ms=settled_until_ms)
    await worker.send(head.with_body(b"\n".join(lines)))


def unix_ms() -> int:
    return time.time_ns() // 1_000_000


def reserver(router: Bus) -> CreditReserver:
    """Return the leases of a router process, which asks over its connection."""

    async def ask(question: LeaseCredit) -> CreditLease:
        return await router.ask(CREDIT_LEASE, question, timeout_seconds=20, router=router.user)

    async def give_back(given: ReturnCredit) -> object:
        return await router.ask(CREDIT_RETURN, given, timeout_seconds=20, router=router.user)

    return CreditReserver(CreditWallet(router.instance_id), ask, give_back, unix_ms)


async def test_two_routers_spend_one_account_and_what_a_killed_one_held_is_free_after_its_lease(
    servers: LedgerServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.router.credit.wallet.MARGIN_MS", 0)
    monkeypatch.setattr("services.router.credit.reserver.MARGIN_MS", 0)
    await fund(servers, 1_000_000)
    async with (
        servers.in_process(),
        servers.installation.connected(Role.ROUTER) as older,
        servers.worker() as worker,
    ):
        # Nothing is released before the worker vouches for more.
        await report(worker, unix_ms())
        surviving, reservations = reserver(older), list[Reservation]()
        async with servers.installation.connected(Role.ROUTER) as newer:
            killed = reserver(newer)
            for _ in range(12):  # more than one lease of each
                for each in (surviving, killed):
                    found = await each.reserve("acme", {ACCOUNT: 1000})
                    assert isinstance(found, Reservation)
                    reservations.append(found)
        # The killed one gives nothing back, and its last attempts are recorded after its end.
        records = [
            attempt_record(reservation=one.model_copy(update={"certificate": None}), **PAID) for one in reservations
        ]
        await report(worker, reservations[0].not_after_unix_ms - 1, [record.encode() for record in records])
        await worker.until_confirmed(records)
        await surviving.stop()
        [(charged,)] = servers.query("SELECT sum(charge_micro_usd)::bigint FROM usage_ledger.attempts")
        open_leases = servers.query(
            "SELECT epoch, sum(amount - given_back - settled)::bigint FROM usage_ledger.credit_leases"
            " WHERE state = 'open' GROUP BY epoch"
        )
        assert [epoch for epoch, _ in open_leases] == [newer.instance_id]
        assert available(servers) == 1_000_000 - charged - open_leases[0][1]
        await report(worker, RETIRED_UNIX_MS)
        await eventually("what the killed router held is free", lambda: available(servers) == 1_000_000 - charged)
        assert not servers.query(
            "SELECT 1 FROM usage_ledger.accounts WHERE name = 'platform/absorbed' AND debits_posted > 0"
        )


async def test_a_lease_is_released_only_past_the_watermark_of_every_worker(
    servers: LedgerServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.usage_ledger.credit.worker_handlers._BEHIND_MS", 0)
    await fund(servers, 1_000_000)
    async with (
        servers.in_process(),
        servers.installation.connected(Role.ROUTER) as router,
        servers.worker() as worker,
        servers.worker(OTHER_WORKER) as other,
        servers.operator() as operator,
    ):
        await report(worker, unix_ms())
        await report(other, unix_ms())
        found = await lease(router, 1000, 50_000)
        assert (found.result, found.amount) == (LeaseResult.GRANTED, 50_000)
        assert found.lease_id is not None
        back = ReturnCredit(tenant="acme", lease_id=found.lease_id, amount=20_000, epoch="router-a")
        for expected in (20_000, 0):
            returned = await router.ask(CREDIT_RETURN, back, timeout_seconds=20, router="router")
            assert returned.amount == expected
        assert available(servers) == 970_000
        # One attempt is recorded. Another, on the other worker, holds a share and ends much later.
        hold = Hold(lease_id=found.lease_id, account=ACCOUNT, amount=1000)
        reservation = Reservation(holds=[hold], not_after_unix_ms=found.not_after_unix_ms)
        record = attempt_record(reservation=reservation, **PAID)
        await report(worker, unix_ms(), [record.encode()])
        await worker.until_confirmed([record])
        [(charge,)] = servers.query("SELECT charge_micro_usd FROM usage_ledger.attempts")
        assert charge > 0
        assert available(servers) == 971_000 - charge
        await eventually("the lease has ended", lambda: unix_ms() > found.not_after_unix_ms + SKEW_MS)
        await report(worker, unix_ms())
        await report(other, found.not_after_unix_ms)
        later = await lease(router, 1000, 1000)
        await report(worker, RETIRED_UNIX_MS)
        await eventually(
            "the ledger has both watermarks",
            lambda: servers.query(
                "SELECT 1 FROM usage_ledger.credit_watermarks older GROUP BY worker"
                f" HAVING max(settled_until_ms) = {RETIRED_UNIX_MS}"
            ),
        )
        await eventually("the later lease has ended", lambda: unix_ms() > later.not_after_unix_ms + SKEW_MS)
        assert available(servers) == 970_000 - charge
        workers = await operator.ask(CREDIT_WORKER_LIST, ListCreditWorkers(), timeout_seconds=20)
        assert [(one.worker, one.blocks) for one in workers.workers] == [(WORKER, False), (OTHER_WORKER, True)]
        assert [(one.account, one.leases, one.amount) for one in workers.waiting] == [(ACCOUNT, 2, 30_000)]
        lost = DeclareWorkerLost(worker=OTHER_WORKER)
        with pytest.raises(Refused, match="reported within the last minute"):
            await operator.ask(CREDIT_WORKER_DECLARE_LOST, lost, timeout_seconds=20)
        monkeypatch.setattr("services.usage_ledger.credit.worker_store.STILL_REPORTS", timedelta(0))
        done = await operator.ask(CREDIT_WORKER_DECLARE_LOST, lost, timeout_seconds=20)
        assert done.spools == ["spl_1"]
        await eventually("both leases are released", lambda: available(servers) == 1_000_000 - charge)
        with pytest.raises(Refused, match="no such spool"):
            await operator.ask(CREDIT_WORKER_DECLARE_LOST, lost, timeout_seconds=20)
        # The lost worker comes back all the same: what its attempt cost is the platform's, and the account stays as it is.
        late = attempt_record(reservation=reservation, worker_id=OTHER_WORKER, **PAID)
        await report(other, RETIRED_UNIX_MS, [late.encode()])
        await other.until_confirmed([late])
        assert available(servers) == 1_000_000 - charge
        [(borne,)] = servers.query("SELECT debits_posted FROM usage_ledger.accounts WHERE name = 'platform/absorbed'")
        assert borne == charge
