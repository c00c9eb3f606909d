"""A registered worker gets the requested key, sealed to it, once, and audited first; others get the reason."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from keyferry.contracts.audit import AuditOutcome
from keyferry.contracts.key import KeyStatus
from keyferry.contracts.secret import Secret
from keyferry.contracts.service import ErrorCode
from keyferry.contracts.topology import KEY_LEASE, Role
from keyferry.runtime.bus.requests import Refused
from keyferry.sealing.delivery import InvalidDelivery, check_delivery
from services.key_vault.leases.registrations import EnrolledWorkers
from tests.integration.key_vault.vault_on_bus import VaultOnBus, now_unix_ms

KEY = Secret("sk-canary-0123456789abcdef")


async def test_worker_gets_the_requested_key(on_bus: VaultOnBus) -> None:
    key = await on_bus.add(KEY)
    async with on_bus.vault_process(), on_bus.worker() as worker:
        question = worker.asks(key)
        sealed = await worker.lease(question)
        check_delivery(sealed, question)
        assert worker.opened(sealed).for_origin(key.origin) == KEY
        assert sealed.not_after_unix_ms == question.sent_at_unix_ms + 60_000
        (event,) = on_bus.audited()
    assert (event.actor, event.tenant, event.target, event.outcome) == (
        "provider-worker-1",
        "acme",
        key.key_id,
        AuditOutcome.DONE,
    )
    assert event.details["for_tenant"] == "acme"
    assert event.details["attempt"] == question.attempt_id
    assert "canary" not in event.model_dump_json() + sealed.model_dump_json()


async def test_lease_ends_when_its_key_expires(on_bus: VaultOnBus) -> None:
    expires_at = datetime.now(UTC) + timedelta(seconds=20)
    key = await on_bus.add(KEY, expires_at=expires_at)
    async with on_bus.vault_process(), on_bus.worker() as worker:
        sealed = await worker.lease(worker.asks(key))
    assert sealed.not_after_unix_ms == int(expires_at.timestamp() * 1000)


async def test_tenants_request_may_lease_a_platform_key(on_bus: VaultOnBus) -> None:
    key = await on_bus.add(KEY, tenant="platform")
    async with on_bus.vault_process(), on_bus.worker() as worker:
        question = worker.asks(key, tenant="acme")
        assert worker.opened(await worker.lease(question)).owner == "platform"


@pytest.mark.parametrize(
    ("stored", "asked", "code", "detail"),
    [
        ({}, {"origin": "https://evil.example"}, ErrorCode.INVALID, "belongs to https://api.openai.com"),
        ({}, {"provider": "groq"}, ErrorCode.INVALID, "is for openai and not for groq"),
        ({}, {"key_id": "key_nothere"}, ErrorCode.NOT_FOUND, "has no key"),
        ({}, {"owner": "globex", "tenant": "globex"}, ErrorCode.NOT_FOUND, "globex has no key"),
        ({}, {"tenant": "globex"}, ErrorCode.INVALID, "may use its own keys or the platform's"),
        ({}, {"nonce": "AAAA"}, ErrorCode.INVALID, "16 bytes"),
        ({"status": KeyStatus.INVALID}, {}, ErrorCode.NOT_FOUND, "provider does not accept it"),
        ({"status": KeyStatus.DISABLED}, {}, ErrorCode.NOT_FOUND, "switched off"),
        ({"status": KeyStatus.EXPIRED}, {}, ErrorCode.NOT_FOUND, "expired"),
        ({"status": KeyStatus.UNDECRYPTABLE}, {}, ErrorCode.NOT_FOUND, "cannot decrypt its record"),
        ({"over_limit": True}, {}, ErrorCode.NOT_FOUND, "monthly limit"),
        ({"expires_at": datetime(2020, 1, 1, tzinfo=UTC)}, {}, ErrorCode.NOT_FOUND, "expired"),
    ],
)
async def test_refused_lease_has_a_reason_and_is_audited(
    on_bus: VaultOnBus, stored: dict[str, Any], asked: dict[str, object], code: ErrorCode, detail: str
) -> None:
    key = await on_bus.add(KEY, **stored)
    async with on_bus.vault_process(), on_bus.worker() as worker:
        with pytest.raises(Refused, match=detail) as refused:
            await worker.lease(worker.asks(key, **asked))
        (event,) = on_bus.audited()
    assert refused.value.refusal.code is code
    assert event.outcome is AuditOutcome.REFUSED
    assert detail in event.details["why"]


@pytest.mark.parametrize("apart_ms", [-11_000, 11_000, -3_600_000])
async def test_clock_skew_is_named(on_bus: VaultOnBus, apart_ms: int) -> None:
    key = await on_bus.add(KEY)
    async with on_bus.vault_process(), on_bus.worker() as worker:
        with pytest.raises(Refused, match=r"clocks of worker and vault agree \(NTP\)"):
            await worker.lease(worker.asks(key, sent_at_unix_ms=now_unix_ms() + apart_ms))


async def test_request_is_answered_once_across_replicas(on_bus: VaultOnBus) -> None:
    key = await on_bus.add(KEY)
    async with on_bus.vault_process() as one, on_bus.bus.connected(Role.KEY_VAULT) as bus, on_bus.worker() as worker:
        question = worker.asks(key)
        await worker.lease(question)
        other = on_bus.lease_service(bus, on_bus.vault.restarted())
        for replica in (one.leases, other):
            with pytest.raises(Refused, match="answered before"):
                await replica.lease(worker.bus.user, question)
        assert [event.outcome for event in on_bus.audited()] == [
            AuditOutcome.DONE,
            AuditOutcome.REFUSED,
            AuditOutcome.REFUSED,
        ]


async def test_a_nonce_outlives_the_registrations_that_delete_old_ones(on_bus: VaultOnBus) -> None:
    key = await on_bus.add(KEY)
    async with on_bus.vault_process(), on_bus.worker() as worker:
        question = worker.asks(key)
        await worker.lease(question)
        await worker.register()
        with pytest.raises(Refused, match="answered before"):
            await worker.lease(question)


async def test_a_worker_cannot_use_up_anothers_nonce(on_bus: VaultOnBus) -> None:
    key = await on_bus.add(KEY)
    async with on_bus.vault_process(), on_bus.worker(1) as one, on_bus.worker(2) as two:
        question = one.asks(key)
        await two.lease(two.asks(key, nonce=question.nonce))
        assert one.opened(await one.lease(question)).for_origin(key.origin) == KEY


async def test_registration_is_valid_at_every_replica(on_bus: VaultOnBus) -> None:
    key = await on_bus.add(KEY)
    async with on_bus.vault_process(), on_bus.bus.connected(Role.KEY_VAULT) as bus, on_bus.worker() as worker:
        other = on_bus.lease_service(bus, on_bus.vault.restarted())
        sealed = await other.lease(worker.bus.user, worker.asks(key))
        assert worker.opened(sealed).for_origin(key.origin) == KEY


async def test_unregistered_process_has_to_register(on_bus: VaultOnBus) -> None:
    key = await on_bus.add(KEY)
    async with on_bus.vault_process(), on_bus.worker(register=False) as worker:
        with pytest.raises(Refused, match="register it") as refused:
            await worker.lease(worker.asks(key))
        assert refused.value.refusal.code is ErrorCode.CONFLICT


async def test_worker_cannot_lease_as_another_workers_process(on_bus: VaultOnBus) -> None:
    """Slot 2 requests as slot 1's process, but is identified by the subject it may publish to."""
    key = await on_bus.add(KEY)
    async with on_bus.vault_process(), on_bus.worker(1) as one, on_bus.worker(2) as two:
        with pytest.raises(Refused, match="provider-worker-2 is not registered"):
            await two.lease(two.asks(key, instance_id=one.bus.instance_id))
        sealed = await two.lease(two.asks(key))
        with pytest.raises(InvalidDelivery):
            one.opened(sealed)


async def test_changed_registration_row_receives_no_key(on_bus: VaultOnBus) -> None:
    """An attacker with write access to the table replaces a worker's public key."""
    key = await on_bus.add(KEY)
    async with (
        on_bus.vault_process(),
        on_bus.bus.connected(Role.KEY_VAULT) as bus,
        on_bus.worker(1) as one,
        on_bus.worker(2) as two,
    ):
        stolen = two.registration().public_key
        on_bus.vault.execute(
            "UPDATE key_vault.workers SET registration = jsonb_set(registration, '{public_key}', to_jsonb(%s::text))"
            " WHERE worker_id = 'provider-worker-1'",
            stolen,
        )
        replica = on_bus.lease_service(bus, on_bus.vault.restarted())
        with pytest.raises(Refused, match="not signed by the identity key"):
            await replica.lease(one.bus.user, one.asks(key))


async def test_unenrolled_worker_receives_no_key(on_bus: VaultOnBus) -> None:
    key = await on_bus.add(KEY)
    async with on_bus.vault_process(), on_bus.bus.connected(Role.KEY_VAULT) as bus, on_bus.worker() as worker:
        replica = on_bus.lease_service(bus)
        replica._enrolled = EnrolledWorkers({})
        with pytest.raises(Refused, match="not enrolled"):
            await replica.lease(worker.bus.user, worker.asks(key))


async def test_undecryptable_record_is_reported(on_bus: VaultOnBus) -> None:
    key = await on_bus.add(KEY)
    on_bus.vault.execute(
        "UPDATE key_vault.key_records SET record = overlay(record placing %s from 60)", b"\x00\x01\x02"
    )
    async with on_bus.vault_process(), on_bus.worker() as worker:
        with pytest.raises(Refused, match="cannot decrypt the record"):
            await worker.lease(worker.asks(key))


async def test_request_with_a_disallowed_reply_subject_is_dropped(on_bus: VaultOnBus) -> None:
    """The bus does not check the reply subject of a publisher."""
    key = await on_bus.add(KEY)
    async with on_bus.vault_process(), on_bus.worker() as worker:
        subject = KEY_LEASE.format(worker=worker.bus.user)
        for disallowed in ("_INBOX_ingress.x", "kf.v1.attempt.run.openai", ""):
            await worker.bus.client.publish(subject, worker.asks(key).encode(), reply=disallowed)
        await worker.lease(worker.asks(key))
        assert len(on_bus.audited()) == 1, "only the last request was processed, and the subscription keeps the order"


async def test_malformed_lease_request_is_rejected(on_bus: VaultOnBus) -> None:
    async with on_bus.vault_process(), on_bus.worker() as worker:
        reply = await worker.bus.client.request(KEY_LEASE.format(worker=worker.bus.user), b'{"nonce": 1}', timeout=20)
        assert reply.data.startswith(b'{"refusal":{"code":"invalid"')
