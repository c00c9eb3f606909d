"""What credits cost: requests that are paid in credits against those on own keys, and leases against a hold for each attempt."""

import asyncio
import json
import secrets
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from keyferry.contracts.accounts import GRANTED
from keyferry.contracts.credit import CreditLease, LeaseCredit, Reservation, ReturnCredit
from services.router.credit.reserver import CreditReserver
from services.router.credit.wallet import CreditWallet
from services.usage_ledger.accounts.store import apply_transfers
from services.usage_ledger.accounts.transfer import Transfer, TransferPurpose
from services.usage_ledger.credit.store import CreditLeaseStore
from tests.bench import load, loopback
from tests.bench.case import Case, Kind
from tests.bench.children import started
from tests.bench.failure import BenchError
from tests.bench.figure import Figure
from tests.bench.ledger.figure_names import CREDIT_COST, HOT_TENANT
from tests.bench.overload.upstream_process import SHARED_MODEL
from tests.bench.system import Target
from tests.bench.unlimited_tiers import write_unlimited_tiers
from tests.support.providers.openai_double import fresh_key
from tests.support.servers.migrated_database import migrated_database
from tests.support.system.command_line import run_command
from tests.support.system.keyferry_system import KeyferrySystem, running_system

_CLIENTS = 64
_PROVIDER = "openai"
_UNLIMITED = ("--rpm", "unlimited", "--tpm", "unlimited", "--concurrency", "unlimited")
_KEY_SECONDS = 60.0
_RESERVE_SECONDS = 3.0
_NEED = 5000
_PLENTY = 10**14


def measure(wrk: str, directory: Path, seconds: int) -> list[Figure]:
    """Measure both.

    Raises:
        BenchError: a process ended, was not ready in time, or too many requests failed.
    """
    for part in ("requests", "holds"):
        (directory / part).mkdir()
    return [
        Figure(CREDIT_COST, _compare_requests(wrk, directory / "requests", seconds)),
        Figure(HOT_TENANT, asyncio.run(_compare_holds(directory / "holds"))),
    ]


# --- requests


def _compare_requests(wrk: str, directory: Path, seconds: int) -> float:
    """Return requests a second that are paid in credits, divided by those on an own key: the same provider, four runs of each."""
    port = loopback.find_free_port()
    command = [sys.executable, "-m", "tests.bench.overload.upstream_process", str(port), "0"]
    settings = {
        "KEYFERRY_TIER_FILE": str(write_unlimited_tiers(directory)),
        "KEYFERRY_PROVIDER_URLS": f"{_PROVIDER}=http://127.0.0.1:{port}/{_PROVIDER}/v1",
    }
    with started("provider", command, directory), running_system(directory / "home", settings) as system:
        targets = {"own": _tenant(system, "own"), "paying": _tenant(system, "paying")}
        _add_key(system, "own")
        _add_key(system, "platform")
        system.cli("tenants", "set", "own", "--keys", "own")
        system.cli("credits", "grant", "paying", "1000000000", "--reason", "bench")
        case = Case(Kind.PLAIN, _CLIENTS)
        for target in targets.values():
            load.run(wrk, target, case, 2)
        answered = dict.fromkeys(targets, 0.0)
        for name in ("own", "paying", "paying", "own") * 2:
            found = load.run(wrk, targets[name], case, seconds)
            if found.errors:
                raise BenchError(f"{found.errors} of {found.sent} requests of the tenant {name} failed.")
            answered[name] += found.per_second
        return answered["paying"] / answered["own"]


def _tenant(system: KeyferrySystem, tenant: str) -> Target:
    system.cli("tenants", "create", tenant, "--tier", "professional", *_UNLIMITED)
    token = json.loads(system.cli("tokens", "create", "--tenant", tenant, "--json"))["token"]
    return Target(f"{system.http_url}/v1", f"{_PROVIDER}/{SHARED_MODEL}", token)


def _add_key(system: KeyferrySystem, owner: str) -> None:
    command = ("keys", "add", "--provider", _PROVIDER, "--tenant", owner, "--key-file", "-")
    give_up_at = time.monotonic() + _KEY_SECONDS
    while run_command(command, system.environment, f"{fresh_key()}\n").status:
        if time.monotonic() > give_up_at:
            raise BenchError(f"No key of {owner} could be added. See the vault's log in the system's home.")
        time.sleep(0.2)


# --- holds


async def _compare_holds(directory: Path) -> float:
    """Return attempts a second that a router reserves from leases, divided by holds a second in the database."""
    database = migrated_database(directory, "usage_ledger", synced=True)
    engine = create_async_engine(database.url_files["usage_ledger"].read_text(), pool_size=16, max_overflow=0)
    try:
        await _fund(engine)
        store = CreditLeaseStore(engine)

        async def lease(ask: LeaseCredit) -> CreditLease:
            return await store.lease(ask, "router", datetime.now(UTC))

        async def give_back(given: ReturnCredit) -> object:
            return await store.give_back(given, "router", datetime.now(UTC))

        epoch = secrets.token_hex(8)
        reserver = CreditReserver(CreditWallet(epoch), lease, give_back, lambda: time.time_ns() // 1_000_000)

        async def hold() -> None:
            await lease(LeaseCredit(tenant="hot", account="credits/hot", need=_NEED, want=_NEED, epoch=epoch))

        async def reserve() -> None:
            needs = {"credits/hot": _NEED}
            found = reserver.try_reserve("hot", needs) or await reserver.reserve("hot", needs)
            if not isinstance(found, Reservation):
                raise BenchError("The account has too little.")
            await asyncio.sleep(0)

        direct = await _count(hold)
        return await _count(reserve) / direct
    finally:
        await engine.dispose()


async def _fund(engine: AsyncEngine) -> None:
    grant = Transfer(
        transfer_id="bench", debit=GRANTED, credit="credits/hot", amount=_PLENTY, purpose=TransferPurpose.GRANT
    )
    async with engine.begin() as connection:
        await apply_transfers(connection, [grant], datetime.now(UTC))


async def _count(do: Callable[[], Awaitable[None]]) -> float:
    """Return how often 64 clients together do something in a second."""
    done = 0
    until = time.monotonic() + _RESERVE_SECONDS

    async def client() -> None:
        nonlocal done
        while time.monotonic() < until:
            await do()
            done += 1

    began = time.monotonic()
    await asyncio.gather(*(client() for _ in range(_CLIENTS)))
    return done / (time.monotonic() - began)
