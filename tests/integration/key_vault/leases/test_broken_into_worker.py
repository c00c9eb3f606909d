"""A worker that was broken into uses its own credentials for everything that they permit: it gets no key without a request.

It has the worker's NATS user, its identity with the vault, and the lease requests of the requests that it serves.
"""

import logging
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from nats.aio.msg import Msg

from keyferry.contracts.audit import AuditOutcome
from keyferry.contracts.credit import CreditCertificate
from keyferry.contracts.key import ProviderKey
from keyferry.contracts.lease import LeaseKey
from keyferry.contracts.lease_management import LEASE_ALARMED, LeaseAlarm, LeaseAlarmReason
from keyferry.contracts.secret import Secret
from keyferry.contracts.service import ErrorCode
from keyferry.contracts.topology import KEY_LEASE, Role
from keyferry.runtime.bus.requests import Refused
from keyferry.sealing.delivery import NONCE_BYTES
from keyferry.sealing.framing import to_base64
from keyferry.sealing.grant import GrantSigner
from services.key_vault.leases.grants import MOST_KEYS
from services.key_vault.leases.lease_watch import MOST_REFUSALS
from tests.integration.key_vault.vault_on_bus import VaultOnBus, WorkerEnd, now_unix_ms
from tests.integration.key_vault.vault_service import VaultService, eventually
from tests.support.servers.provisioned_bus import until_subscribed
from tests.support.vault.grants import INGRESS, Granting

TENANTS = ("acme", "globex", "initech")
KEYS_PER_TENANT = 5


def secret_of(tenant: str, number: int) -> Secret:
    return Secret(f"sk-canary-{tenant}-{number:04d}")


async def stored_keys(on_bus: VaultOnBus) -> list[ProviderKey]:
    tenants = (*TENANTS, "platform")
    return [await on_bus.add(secret_of(tenant, n), tenant) for tenant in tenants for n in range(KEYS_PER_TENANT)]


class Intruder:
    """What somebody sends who controls a worker. `served` is a lease request of a request that the worker has got."""

    def __init__(self, worker: WorkerEnd, granting: Granting, served: LeaseKey) -> None:
        self._worker = worker
        self._granting = granting
        self._served = served
        self._own = Granting()

    def attempts(self, key: ProviderKey) -> Iterator[LeaseKey]:
        """Yield every request for a key that it can think of, for requests that are not under way."""
        for tenant in {key.tenant, "acme"} if key.tenant != "platform" else TENANTS:
            usual = self._worker.asks(key, tenant=tenant, owner=key.tenant, grant=None, certificate=None)
            yield usual
            yield usual.model_copy(update={"request_id": None})
            yield from (usual.model_copy(update={"grant": text}) for text in ("v1", "v1:ingress:1:A:A"))
            yield self._replayed(usual)
            yield self._self_made(usual)
            yield self._ended(usual)
            yield self._with_another_end(usual)

    def _replayed(self, usual: LeaseKey) -> LeaseKey:
        """The grant of the request that it serves, for a key of somebody else; or of another request of the same tenant."""
        if usual.tenant != self._served.tenant:
            return usual.model_copy(update={"request_id": self._served.request_id, "grant": self._served.grant})
        return usual.model_copy(update={"request_id": "req_another", "grant": self._served.grant})

    def _self_made(self, usual: LeaseKey) -> LeaseKey:
        assert usual.request_id is not None
        grant = self._own.grant(usual.tenant, usual.request_id)
        return usual.model_copy(update={"grant": grant, "certificate": self._own.certificate(usual.tenant)})

    def _ended(self, usual: LeaseKey) -> LeaseKey:
        assert usual.request_id is not None
        long_ago = now_unix_ms() - 3_600_000
        grant = self._granting.grant(usual.tenant, usual.request_id, now_unix_ms=long_ago, lasts_ms=600_000)
        return usual.model_copy(update={"grant": grant})

    def _with_another_end(self, usual: LeaseKey) -> LeaseKey:
        ended = self._ended(usual).grant
        assert ended is not None
        parts = ended.split(":")
        return usual.model_copy(update={"grant": ":".join((*parts[:2], str(now_unix_ms() + 60_000), *parts[3:]))})


async def released(worker: WorkerEnd, asked: LeaseKey) -> bool:
    try:
        worker.opened(await worker.lease(asked))
    except Refused as refused:
        if refused.refusal.code is not ErrorCode.INVALID:
            raise
        return False
    return True


async def test_no_key_is_released_for_a_request_that_is_not_under_way(
    on_bus: VaultOnBus, caplog: pytest.LogCaptureFixture
) -> None:
    keys = await stored_keys(on_bus)
    async with on_bus.vault_process(), on_bus.worker(1) as intruder, on_bus.worker(2) as honest:
        served = intruder.asks(keys[0])
        assert await released(intruder, served), "the request that it serves"
        makes = Intruder(intruder, on_bus.granting, served)
        asked = [one for key in keys for one in makes.attempts(key)]
        assert len(asked) > 200
        got = [await released(intruder, one) for one in asked]
        assert sum(got) == 0
        for key in keys:
            tenant = "acme" if key.tenant == "platform" else key.tenant
            assert await released(honest, honest.asks(key, tenant=tenant)), "an honest worker's requests go on"
    refusals = [event for event in on_bus.audited() if event.outcome is AuditOutcome.REFUSED]
    assert len(refusals) == len(asked), "each is in the audit"
    assert {event.actor for event in refusals} == {"provider-worker-1"}
    assert "canary" not in caplog.text


async def test_without_the_check_every_key_is_released(on_bus: VaultOnBus) -> None:
    """The counterpart: what the vault did before there were grants."""
    keys = await stored_keys(on_bus)
    async with on_bus.vault_process() as vault, on_bus.worker() as intruder:
        vault.leases._grants = None
        for key in keys:
            assert await released(intruder, intruder.asks(key, grant=None, certificate=None))


async def test_a_request_under_way_yields_its_own_tenants_keys_only_and_not_many(on_bus: VaultOnBus) -> None:
    keys = [await on_bus.add(secret_of("acme", number)) for number in range(MOST_KEYS + 3)]
    foreign = await on_bus.add(secret_of("globex", 1), "globex")
    async with on_bus.vault_process(), on_bus.worker() as intruder:
        served = intruder.asks(keys[0])
        proof = {"request_id": served.request_id, "grant": served.grant}
        got = [await released(intruder, intruder.asks(key, **proof)) for key in keys]
        assert got == [True] * MOST_KEYS + [False] * 3
        for owner, tenant in (("globex", "acme"), ("globex", "globex")):
            assert not await released(intruder, intruder.asks(foreign, owner=owner, tenant=tenant, **proof))


@dataclass(frozen=True)
class Unpaid:
    name: str
    certificate: CreditCertificate | None


def unpaid(granting: Granting) -> list[Unpaid]:
    long_ago = now_unix_ms() - 3_600_000
    valid = granting.certificate("acme")
    return [
        Unpaid("none", None),
        Unpaid("of another tenant", granting.certificate("globex")),
        Unpaid("of another tenant's account", granting.certificate("acme", account="credits/globex")),
        Unpaid("of a lease that has ended", granting.certificate("acme", now_unix_ms=long_ago)),
        Unpaid("made by itself", Granting().certificate("acme")),
        Unpaid("with another end", valid.model_copy(update={"not_after_unix_ms": valid.not_after_unix_ms + 1})),
        Unpaid("of a budget", valid.model_copy(update={"account": "budget/bud_1/2026-11-01"})),
    ]


async def test_a_platform_key_is_released_only_to_who_pays(on_bus: VaultOnBus) -> None:
    key = await on_bus.add(secret_of("platform", 1), "platform")
    async with on_bus.vault_process(), on_bus.worker() as worker:
        for case in unpaid(on_bus.granting):
            asked = worker.asks(key, tenant="acme", certificate=case.certificate)
            assert not await released(worker, asked), case.name
        for account in ("credits/acme", "allowance/acme/2026-11"):
            paid = on_bus.granting.certificate("acme", account=account)
            assert await released(worker, worker.asks(key, tenant="acme", certificate=paid)), account


# --- the alarm, of the whole vault


@asynccontextmanager
async def changes(service: VaultService) -> AsyncIterator[list[LeaseAlarm]]:
    """Collect the alarms that come out on the bus."""
    found: list[LeaseAlarm] = []

    async def take(message: Msg) -> None:
        found.append(LeaseAlarm.decode(message.data))

    async with service.bus.client(Role.PROVISIONER) as client:
        await client.subscribe(LEASE_ALARMED.pattern(), cb=take)
        await client.flush()
        yield found


def forged_request(instance_id: str, number: int) -> LeaseKey:
    now = now_unix_ms()
    forger = GrantSigner(INGRESS, lambda _: bytes(32))
    return LeaseKey(
        instance_id=instance_id,
        tenant="acme",
        owner="acme",
        provider="openai",
        key_id=f"key_{number}",
        origin="https://api.openai.com",
        attempt_id="att_1",
        nonce=to_base64(secrets.token_bytes(NONCE_BYTES)),
        sent_at_unix_ms=now,
        request_id="req_1",
        grant=forger.sign("acme", "req_1", b"", now_unix_ms=now, lasts_ms=1000),
    )


async def test_refusals_raise_one_alarm(stopped_service: VaultService, caplog: pytest.LogCaptureFixture) -> None:
    """At once: the event is on the bus, and in the audit, as soon as the relay has published what the refusal committed."""
    async with stopped_service.vault() as vault, stopped_service.worker() as worker, changes(stopped_service) as alarms:
        await until_subscribed(vault.bus)
        for number in range(4 * MOST_REFUSALS):
            forged = forged_request(worker.bus.instance_id, number)
            with pytest.raises(Refused, match="has not signed"):
                await worker.bus.ask(KEY_LEASE, forged, timeout_seconds=20, worker=worker.bus.user)
        await eventually("the alarm is on the bus", lambda: alarms)
        (shown,) = vault.degraded()
        assert vault.facts()["lease_alarms"] == "1"
        found = [event for event in await stopped_service.audited() if event.action == "lease.alarm"]
    (alarm,), (event,) = alarms, found
    assert (alarm.worker, alarm.reason) == ("provider-worker-1", LeaseAlarmReason.REFUSALS)
    assert alarm.detail in shown
    assert (event.tenant, event.target) == ("platform", "provider-worker-1")
    assert event.details["refusals"] == str(MOST_REFUSALS)
    errors = [one for one in caplog.records if one.levelno == logging.ERROR and "lease alarm" in one.getMessage()]
    assert len(errors) == 1


async def test_switched_off_grants_are_reported(
    stopped_service: VaultService, caplog: pytest.LogCaptureFixture
) -> None:
    async with stopped_service.vault(grants="off", grant_keys_file=None, credit_public_key_file=None) as vault:
        (shown,) = vault.degraded()
    assert "KEYFERRY_GRANTS is off" in shown
    assert shown in caplog.text
