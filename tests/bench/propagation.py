"""Timings of changes by an operator: how long until requests are treated by a new policy, tier or token, under load."""

import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import httpx

from keyferry.cli.connection import Connection, run
from keyferry.cli.installation import Installation
from keyferry.contracts import client_token
from keyferry.contracts.secret import Secret
from keyferry.contracts.tenancy import CreateClientToken, KeyPolicy, RevokeClientToken, Tier, UpdateTenant
from keyferry.contracts.topology import TENANT_UPDATE, TOKEN_CREATE, TOKEN_REVOKE
from tests.bench.failure import BenchError
from tests.bench.keys.timing import Timing, timing
from tests.support.vault.keyed_system import KeyedSystem, TenantAccount, running_keyed_system, under_load

POLICY = "key policy, answer to effect"
TIER = "tier, answer to effect"
TOKEN = "client token revoked, answer to effect"
_CHANGES = 100
_RATE_PER_SECOND = 200.0
_LONGEST_SECONDS = 30.0
_CHAT: Mapping[str, object] = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}]}

Change = Callable[[], Awaitable[None]]


def measure(directory: Path) -> list[Timing]:
    """Time a hundred changes of each kind in the whole embedded system under 200 requests a second.

    Each duration is from the answer to the management request to the first request that is treated by it.

    Raises:
        BenchError: a request of the load failed, or a change had no effect.
    """
    with running_keyed_system(directory / "home") as keyed_system:
        loading = _paying_account(keyed_system, "loading")
        changing = _paying_account(keyed_system, "changing")
        seed = keyed_system.system.home / "secrets" / "nkeys" / "operator.seed"
        installation = Installation(str(keyed_system.system.state["nats_url"]), seed)
        with under_load(loading, _RATE_PER_SECOND) as load:
            timings = run(lambda me: _measure_all(me, changing), installation)
        if failed := sum(not ending.whole for ending in load.endings().values()):
            raise BenchError(f"{failed} of {len(load.sent)} requests failed while tenants were changed")
        return timings


def _paying_account(keyed_system: KeyedSystem, tenant: str) -> TenantAccount:
    account, key = keyed_system.new_tenant(tenant, keys="own"), keyed_system.provider.issue()
    keyed_system.add(tenant, key)
    account.wait_until_paid_with(key)
    return account


async def _measure_all(me: Connection, account: TenantAccount) -> list[Timing]:
    url = f"{account.keyed_system.system.http_url}/v1/chat/completions"
    async with httpx.AsyncClient(timeout=_LONGEST_SECONDS) as client:

        async def wait_until(treated: Callable[[int], bool], token: str) -> None:
            give_up_at = time.monotonic() + _LONGEST_SECONDS
            while time.monotonic() < give_up_at:
                response = await client.post(url, json=_CHAT, headers={"authorization": f"Bearer {token}"})
                if treated(response.status_code):
                    return
            raise BenchError("a change of a tenant had no effect")

        async def alternate(name: str, forbid: Change, permit: Change) -> Timing:
            durations_ns: list[int] = []
            began = time.monotonic()
            for number in range(_CHANGES):
                await (permit if number % 2 else forbid)()
                answered_ns = time.monotonic_ns()
                await wait_until(_is_served if number % 2 else _is_refused, account.token)
                durations_ns.append(time.monotonic_ns() - answered_ns)
            return timing(name, durations_ns, time.monotonic() - began)

        def update(**changes: object) -> Change:
            async def change() -> None:
                await me.ask(TENANT_UPDATE, UpdateTenant.model_validate({"tenant": account.tenant, **changes}))

            return change

        return [
            await alternate(POLICY, update(key_policy=KeyPolicy.PLATFORM), update(key_policy=KeyPolicy.OWN)),
            await alternate(TIER, update(tier=Tier.FREE), update(tier=Tier.PROFESSIONAL)),
            await _time_revocations(me, account.tenant, wait_until),
        ]


def _is_served(status: int) -> bool:
    return status == 200


def _is_refused(status: int) -> bool:
    return status in (401, 403)


async def _time_revocations(
    me: Connection, tenant: str, wait_until: Callable[[Callable[[int], bool], str], Awaitable[None]]
) -> Timing:
    durations_ns: list[int] = []
    began = time.monotonic()
    for _ in range(_CHANGES):
        secret: Secret = client_token.mint()
        text = secret.reveal()
        made = await me.ask(
            TOKEN_CREATE,
            CreateClientToken(tenant=tenant, label="bench", digest=client_token.digest(text), last4=text[-4:]),
        )
        await wait_until(_is_served, text)
        await me.ask(TOKEN_REVOKE, RevokeClientToken(tenant=tenant, token_id=made.token_id))
        answered_ns = time.monotonic_ns()
        await wait_until(_is_refused, text)
        durations_ns.append(time.monotonic_ns() - answered_ns)
    return timing(TOKEN, durations_ns, time.monotonic() - began)
