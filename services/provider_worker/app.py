"""Wires the provider worker: the only file here that names concrete things."""

import logging

from keyferry.contracts.topology import (
    ATTEMPT_CONFIRMED,
    ATTEMPT_FINISHED,
    ATTEMPT_RUN,
    WORKER_CONTROL,
    WORKER_PROBE,
    Role,
)
from keyferry.runtime.lifecycle import Service
from keyferry.runtime.publishing import PackedPublisher
from keyferry.runtime.settings import SettingsError, load
from services.provider_worker.adapters.registry import ADAPTERS
from services.provider_worker.attempt import Attempts
from services.provider_worker.calling import providers
from services.provider_worker.echoing import echo_provider
from services.provider_worker.handlers import Doors
from services.provider_worker.resending import Resender
from services.provider_worker.settings import ProviderWorkerSettings
from services.provider_worker.spool import Spool, SpoolLocked
from services.provider_worker.upstream.client import Timeouts, UpstreamClient

_log = logging.getLogger(__name__)

_PACK_LINGER_SECONDS = 0.02
"""A pack is one sync to disk: a few milliseconds of gathering spare most of them, and nobody waits for the ledger's row."""
_FLUSH_SECONDS = 5.0
_CONFIRM_SECONDS = 5.0


def create_app(settings: ProviderWorkerSettings | None = None) -> Service:
    """A worker slot as a service that is not started. Raises SettingsError, also when another process owns the slot."""
    settings = settings or load(ProviderWorkerSettings)
    service = Service(Role.PROVIDER_WORKER, settings)
    bus = service.bus
    spool = _opened(Spool(settings.spool_dir))
    publisher = PackedPublisher(
        lambda: bus.jetstream,
        ATTEMPT_FINISHED.at(worker=bus.user),
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
    attempts = Attempts(
        worker_id=bus.user,
        boot_id=bus.boot_id,
        providers={"echo": echo_provider, **providers(ADAPTERS, client, timeouts)},
        spool=spool,
        publisher=publisher,
        send=lambda subject, data, reply: bus.client.publish(subject, data, reply=reply),
        telemetry=service.telemetry,
        capacity=settings.max_attempts,
    )
    doors = Doors(attempts, spool, bus.spawn)
    bus.lane(ATTEMPT_RUN, doors.on_attempt)
    bus.lane(WORKER_CONTROL, doors.on_control, boot=bus.boot_id)
    bus.lane(WORKER_PROBE, doors.on_probe, boot=bus.boot_id)
    bus.lane(ATTEMPT_CONFIRMED, doors.on_confirmed, worker=bus.user)

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
