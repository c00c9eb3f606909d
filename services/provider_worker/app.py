"""Wires the provider worker: the only file here that names concrete things."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from keyferry.contracts.key import LeaseKey, Registered, SealedKey, WorkerRegistration
from keyferry.contracts.secret import Secret
from keyferry.contracts.topology import (
    ATTEMPT_FINISHED,
    KEY_LEASE,
    PROVIDER_KEYS_VIEW,
    WORKER_REGISTER,
    Role,
)
from keyferry.runtime.bus.publishing import BatchPublisher
from keyferry.runtime.process.lifecycle import Service
from keyferry.runtime.process.settings import SettingsError, load, read_secret
from keyferry.runtime.views import KvView
from keyferry.sealing.private_keys import BadKeyFile, signing_key, verifying_key
from services.provider_worker.adapters.registry import ADAPTERS
from services.provider_worker.attempt import Attempts
from services.provider_worker.calling import no_keys, providers
from services.provider_worker.echoing import echo_provider
from services.provider_worker.handlers import AttemptHandlers, KeyTestHandler
from services.provider_worker.key_test.tester import KeyTester
from services.provider_worker.keys.leasing import LEASE_SECONDS, KeyRing
from services.provider_worker.keys.registering import Registrar
from services.provider_worker.resending import Resender
from services.provider_worker.settings import ProviderWorkerSettings
from services.provider_worker.spool import Spool, SpoolLocked
from services.provider_worker.upstream.client import Timeouts, UpstreamClient

_log = logging.getLogger(__name__)

Key = TypeVar("Key")

_PACK_LINGER_SECONDS = 0.02
"""A pack is one sync to disk: a few milliseconds of gathering spare most of them, and nobody waits for the ledger's row."""
_FLUSH_SECONDS = 5.0
_CONFIRM_SECONDS = 5.0
_REGISTER_SECONDS = 5.0


def create_app(settings: ProviderWorkerSettings | None = None) -> Service:
    """A worker slot as a service that is not started. Raises SettingsError, also when another process owns the slot."""
    settings = settings or load(ProviderWorkerSettings)
    service = Service(Role.PROVIDER_WORKER, settings)
    bus = service.bus
    spool = _opened(Spool(settings.spool_dir))
    publisher = BatchPublisher(
        lambda: bus.jetstream,
        ATTEMPT_FINISHED.format(worker=bus.user),
        producer=bus.user,
        spool_id=spool.spool_id,
        linger_seconds=_PACK_LINGER_SECONDS,
    )
    resender = Resender(spool, publisher)
    client = UpstreamClient(allow=settings.egress_allow)
    timeouts = Timeouts(
        connect_seconds=settings.connect_timeout_seconds,
        first_byte_seconds=settings.first_byte_timeout_seconds,
        between_bytes_seconds=settings.between_bytes_timeout_seconds,
    )
    ring = _key_ring(service, settings)
    lease = no_keys if ring is None else ring.lease
    attempts = Attempts(
        worker_id=bus.user,
        instance_id=bus.instance_id,
        providers={"echo": echo_provider, **providers(ADAPTERS, client, timeouts, lease)},
        spool=spool,
        publisher=publisher,
        send=lambda subject, data, reply: bus.client.publish(subject, data, reply=reply),
        telemetry=service.telemetry,
        capacity=settings.max_attempts,
    )
    AttemptHandlers(attempts, spool, bus.spawn).register(bus)
    KeyTestHandler(KeyTester(client), None if ring is None else ring.open_check).register(bus)

    async def start() -> None:
        publisher.start()
        resender.start()

    async def stop() -> None:
        await resender.stop()
        await publisher.stop()
        await client.close()
        spool.close()

    async def until_accounted() -> None:
        await publisher.flush(_FLUSH_SECONDS)
        if left := await resender.until_confirmed(_CONFIRM_SECONDS):
            _log.warning("attempts stay in the spool for this slot's next process", extra={"unconfirmed": left})

    service.opens(start, stop)
    service.drains(until_accounted)
    service.facts = lambda: {"attempts": str(len(attempts)), "unconfirmed": str(spool.unconfirmed)}
    return service


def _opened(spool: Spool) -> Spool:
    try:
        spool.open()
    except SpoolLocked as error:
        raise SettingsError(str(error)) from None
    except OSError as error:
        raise SettingsError(f"the spool directory cannot be used: {error.strerror}: {error.filename}") from None
    return spool


def _key_ring(service: Service, settings: ProviderWorkerSettings) -> KeyRing | None:
    """The keys that this slot leases from the vault; None where it has no identity there. Raises SettingsError."""
    if settings.identity_key_file is None or settings.vault_public_key_file is None:
        return None
    bus = service.bus
    view = KvView(bus, PROVIDER_KEYS_VIEW)

    async def ask_to_register(registration: WorkerRegistration) -> Registered:
        return await bus.ask(WORKER_REGISTER, registration, timeout_seconds=_REGISTER_SECONDS, worker=bus.user)

    async def ask_for_key(question: LeaseKey) -> SealedKey:
        return await bus.ask(KEY_LEASE, question, timeout_seconds=LEASE_SECONDS, worker=bus.user)

    registrar = Registrar(
        worker_id=bus.user,
        instance_id=bus.instance_id,
        identity=_key_of(settings.identity_key_file, signing_key),
        vault=_key_of(settings.vault_public_key_file, lambda text: verifying_key(text.reveal())),
        ask=ask_to_register,
    )
    ring = KeyRing(
        registrar=registrar,
        ask=ask_for_key,
        facts_of=view.get,
        current=lambda: view.current,
        instance_id=bus.instance_id,
        most_waiting=settings.max_attempts // 2,
    )
    view.on_change(ring.view_changed)
    bus.on_reconnect(ring.forget_all)

    async def start() -> None:
        await view.start()
        registrar.start()

    async def stop() -> None:
        await registrar.stop()
        await view.stop()
        ring.forget_all()

    service.opens(start, stop)
    return ring


def _key_of(path: Path, read: Callable[[Secret], Key]) -> Key:
    try:
        return read(read_secret(path))
    except BadKeyFile as error:
        raise SettingsError(f"{path}: {error}") from None
