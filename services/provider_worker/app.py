"""Assembles the provider worker; the only file here that chooses implementations."""

import logging
from dataclasses import dataclass

from keyferry.contracts.content_management import CONTENT_RECORDED
from keyferry.contracts.lease import LeaseKey, Registered, SealedKey, WorkerRegistration
from keyferry.contracts.limit_counters import INCREMENT_HEADER
from keyferry.contracts.topology import (
    ATTEMPT_FINISHED,
    KEY_LEASE,
    PROVIDER_KEYS_VIEW,
    REQUEST_DECIDED,
    WORKER_REGISTER,
    Role,
)
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.bus.publishing import BatchPublisher
from keyferry.runtime.process.lifecycle import Service
from keyferry.runtime.process.settings import SettingsError, load
from keyferry.runtime.providers import follow_providers
from keyferry.runtime.upstream.client import Timeouts, UpstreamClient
from keyferry.runtime.views import KvView
from services.provider_worker.adapters.registry import ADAPTERS, find_adapter
from services.provider_worker.admission.attempts import admission_facts
from services.provider_worker.attempt import WorkerContext, unix_ms
from services.provider_worker.attempt_record import is_lost
from services.provider_worker.attempt_registry import AttemptRegistry
from services.provider_worker.attempt_spans import record_lost_attempt
from services.provider_worker.content.recorder import ContentRecorder
from services.provider_worker.echo_call import EchoProvider
from services.provider_worker.endpoint_probe import EndpointProber
from services.provider_worker.handlers import AttemptHandlers, EndpointProbeHandler, KeyTestHandler
from services.provider_worker.held_limits import HeldLimits
from services.provider_worker.http_call import HttpProvider, HttpProviders, refuse_lease
from services.provider_worker.key_test.tester import KeyTester
from services.provider_worker.keys.lease_client import LEASE_SECONDS, LeaseClient
from services.provider_worker.keys.registrar import Registrar
from services.provider_worker.metrics import count_left_over, register_gauges
from services.provider_worker.redaction.redactors import Redactors
from services.provider_worker.resender import Resender
from services.provider_worker.settings import ProviderWorkerSettings
from services.provider_worker.spool import Spool, SpoolLocked
from services.provider_worker.watermarks import Watermarks

_log = logging.getLogger(__name__)


_BATCH_LINGER_SECONDS = 0.02
"""A batch is one sync to disk. Waiting a few milliseconds for more records saves most syncs, and no caller waits for its row."""
_REFUSAL_LINGER_SECONDS = 0.1
_MAX_REFUSALS = 10_000
"""Records of refusals in memory, while the bus takes none; they are what an overloaded worker has most of."""
_MAX_CONTENTS = 200
"""Contents in memory while the bus takes none: at most some hundred KB each."""
_FLUSH_SECONDS = 5.0
_CONFIRM_SECONDS = 5.0
_REGISTER_SECONDS = 5.0
_RETIRE_SECONDS = 2.0


def create_app(settings: ProviderWorkerSettings | None = None) -> Service:
    """Return a worker slot as a service that is not started. Raises SettingsError, also when another process owns the slot."""
    settings = settings or load(ProviderWorkerSettings)
    service = Service(Role.PROVIDER_WORKER, settings)
    bus = service.bus
    spool = _open_spool(settings)
    watermarks = Watermarks(unix_ms)
    watermarks.restore(spool.left_over())
    count_left_over(spool.left_over())
    for left in filter(is_lost, spool.left_over()):
        record_lost_attempt(service.telemetry, left)
    publisher, refusals = _attempt_publisher(bus, spool, watermarks), _refusal_publisher(bus)
    contents = _content_recorder(service, settings)
    follow_providers(service)
    client = UpstreamClient(allow=settings.egress_allow)
    leases = _lease_client(service, settings)
    lease = refuse_lease if leases is None else leases.lease
    redactors = Redactors()
    attempts = AttemptRegistry(
        WorkerContext(
            worker_id=bus.user,
            instance_id=bus.instance_id,
            spool=spool,
            publisher=publisher,
            record_refusal=lambda record: refusals.put(record.encode()),
            send=lambda subject, data, reply: bus.client.publish(subject, data, reply=reply),
            limits=_held_limits(service),
            watermarks=watermarks,
            contents=contents,
        ),
        HttpProviders(
            ADAPTERS,
            lambda adapter: HttpProvider(adapter, client, _timeouts(settings), lease, redactors),
            beside={"echo": EchoProvider()},
            find_added=find_adapter,
        ),
        telemetry=service.telemetry,
        limits=settings.admission_limits(),
    )
    AttemptHandlers(attempts, spool, bus.spawn, watermarks).register(bus)
    KeyTestHandler(KeyTester(client, redactors=redactors), None if leases is None else leases.open_test_key).register(
        bus
    )
    EndpointProbeHandler(EndpointProber(client)).register(bus)
    _manage(service, spool, _Publishers(publisher, refusals, watermarks), client)
    register_gauges(service.metrics, attempts.admission, spool, settings.max_attempts, lambda: refusals.dropped)
    service.degraded = lambda: _degraded(spool)
    service.facts = lambda: _facts(attempts, spool) | _rare_facts(refusals, contents, redactors)
    return service


def _facts(attempts: AttemptRegistry, spool: Spool) -> dict[str, str]:
    return {
        "attempts": str(len(attempts)),
        **admission_facts(attempts.admission),
        "unconfirmed": str(spool.unconfirmed),
    }


def _rare_facts(refusals: BatchPublisher, contents: ContentRecorder, redactors: Redactors) -> dict[str, str]:
    """Return what an operator should see only where there is any."""
    return {
        **({"refusals_unrecorded": str(refusals.dropped)} if refusals.dropped else {}),
        **({"contents_unrecorded": str(contents.unrecorded)} if contents.unrecorded else {}),
        **({"answers_with_key": str(redactors.repetitions)} if redactors.repetitions else {}),
    }


@dataclass(frozen=True, slots=True)
class _Publishers:
    """What a worker publishes to streams."""

    attempts: BatchPublisher
    refusals: BatchPublisher
    watermarks: Watermarks


def _attempt_publisher(bus: Bus, spool: Spool, watermarks: Watermarks) -> BatchPublisher:
    return BatchPublisher(
        lambda: bus.jetstream,
        ATTEMPT_FINISHED.format(worker=bus.user),
        producer=bus.user,
        spool_id=spool.spool_id,
        linger_seconds=_BATCH_LINGER_SECONDS,
        watermark=watermarks.current,
        on_stored=watermarks.on_stored,
    )


def _refusal_publisher(bus: Bus) -> BatchPublisher:
    return BatchPublisher(
        lambda: bus.jetstream,
        REQUEST_DECIDED.format(service=bus.user),
        producer=bus.user,
        linger_seconds=_REFUSAL_LINGER_SECONDS,
        capacity=_MAX_REFUSALS,
    )


def _content_recorder(service: Service, settings: ProviderWorkerSettings) -> ContentRecorder:
    bus = service.bus
    publisher = BatchPublisher(
        lambda: bus.jetstream,
        CONTENT_RECORDED.format(worker=bus.user),
        producer=bus.user,
        linger_seconds=_REFUSAL_LINGER_SECONDS,
        capacity=_MAX_CONTENTS,
    )

    async def start() -> None:
        publisher.start()

    service.opens(start, publisher.stop)
    service.drains(lambda: publisher.flush(_FLUSH_SECONDS))
    return ContentRecorder(settings.content_public_key(), publisher)


def _held_limits(service: Service) -> HeldLimits:
    bus = service.bus

    async def count(subject: str, amount: int) -> None:
        await bus.client.publish(subject, b"", headers={INCREMENT_HEADER: f"{amount:+d}"})

    limits = HeldLimits(count)
    service.opens(limits.start, limits.stop)
    return limits


def _degraded(spool: Spool) -> list[str]:
    """Return what an operator has to know of this worker."""
    if not spool.unreadable:
        return []
    what = f"{spool.unreadable} lines of the spool could not be read and may be attempts that are not accounted for"
    return [f"{what}: compare the providers' own usage; the log of {Role.PROVIDER_WORKER} names the segments"]


def _manage(service: Service, spool: Spool, publishers: _Publishers, client: UpstreamClient) -> None:
    """Start, drain and stop the worker's parts with its service."""
    publisher, refusals, watermarks = publishers.attempts, publishers.refusals, publishers.watermarks
    resender = Resender(spool, publisher)

    async def start() -> None:
        publisher.start()
        refusals.start()
        resender.start()
        await watermarks.start(publisher)

    async def stop() -> None:
        await watermarks.stop()
        await resender.stop()
        await publisher.stop()
        await refusals.stop()
        await client.close()
        spool.close()

    async def drain() -> None:
        await publisher.flush(_FLUSH_SECONDS)
        await refusals.flush(_FLUSH_SECONDS)
        if left := await resender.until_confirmed(_CONFIRM_SECONDS):
            _log.warning("attempts stay in the spool for this slot's next process", extra={"unconfirmed": left})
        await watermarks.retire(publisher, _RETIRE_SECONDS)

    service.opens(start, stop)
    service.drains(drain)


def _timeouts(settings: ProviderWorkerSettings) -> Timeouts:
    return Timeouts(
        connect_seconds=settings.connect_timeout_seconds,
        first_byte_seconds=settings.first_byte_timeout_seconds,
        between_bytes_seconds=settings.between_bytes_timeout_seconds,
    )


def _open_spool(settings: ProviderWorkerSettings) -> Spool:
    spool = Spool(settings.spool_dir)
    try:
        spool.open()
    except SpoolLocked as error:
        raise SettingsError(str(error)) from None
    except OSError as error:
        raise SettingsError(f"the spool directory cannot be used: {error.strerror}: {error.filename}") from None
    return spool


def _lease_client(service: Service, settings: ProviderWorkerSettings) -> LeaseClient | None:
    """Return the client for leases from the vault; None for a slot without an identity there. Raises SettingsError."""
    identity, vault = settings.identity_key(), settings.vault_public_key()
    if identity is None or vault is None:
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
        identity=identity,
        vault=vault,
        ask=ask_to_register,
    )
    leases = LeaseClient(
        registrar=registrar,
        ask=ask_for_key,
        facts_of=view.get,
        current=lambda: view.current,
        instance_id=bus.instance_id,
        max_waiting=settings.max_attempts // 2,
    )
    view.on_change(leases.evict_unusable)
    bus.on_reconnect(leases.evict_all)

    async def start() -> None:
        await view.start()
        registrar.start()

    async def stop() -> None:
        await registrar.stop()
        await view.stop()
        leases.evict_all()

    service.opens(start, stop)
    return leases
