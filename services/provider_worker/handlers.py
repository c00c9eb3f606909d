"""The worker's handlers on the bus: attempts, control, probes, confirmations and key tests."""

import logging
from collections.abc import Awaitable, Callable

from keyferry.contracts.chat import AttemptRun, Control, ControlKind, Probe, ProbeReply
from keyferry.contracts.key import KeyTest
from keyferry.contracts.lease import RunKeyTest
from keyferry.contracts.route import EndpointProbe, ProbeEndpoint
from keyferry.contracts.service import ErrorCode
from keyferry.contracts.topology import (
    ATTEMPT_CONFIRMED,
    ATTEMPT_RUN,
    ENDPOINT_PROBE,
    KEY_TEST_RUN,
    WORKER_CONTROL,
    WORKER_PROBE,
)
from keyferry.contracts.usage import AttemptsConfirmed
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.bus.dispatch import ReceivedMessage
from keyferry.runtime.bus.requests import Refused
from keyferry.sealing.delivery import InvalidDelivery
from keyferry.sealing.leased import LeasedKey
from services.provider_worker.attempt_registry import AttemptRegistry
from services.provider_worker.endpoint_probe import EndpointProber
from services.provider_worker.key_test.tester import KeyTester
from services.provider_worker.spool import Spool
from services.provider_worker.watermarks import Watermarks

_log = logging.getLogger(__name__)

_TENANT_TOKEN = WORKER_CONTROL.position("tenant")


class AttemptHandlers:
    """Handles attempts, and what callers and the ledger send about them."""

    def __init__(
        self,
        attempts: AttemptRegistry,
        spool: Spool,
        spawn: Callable[[Awaitable[None]], None],
        watermarks: Watermarks,
    ) -> None:
        self._attempts = attempts
        self._spool = spool
        self._spawn = spawn
        self._watermarks = watermarks

    def register(self, bus: Bus) -> None:
        """Subscribe, to what is addressed to this process or slot only where the subject names one."""
        bus.subscribe(ATTEMPT_RUN, self.on_attempt)
        bus.subscribe(WORKER_CONTROL, self.on_control, instance=bus.instance_id)
        bus.subscribe(WORKER_PROBE, self.on_probe, instance=bus.instance_id)
        bus.subscribe(ATTEMPT_CONFIRMED, self.on_confirmed, worker=bus.user)

    async def on_attempt(self, received: ReceivedMessage[AttemptRun]) -> None:
        """Make an attempt, beside everything else."""
        self._spawn(self._attempts.run(received.message, received.body, received.reply_to))

    async def on_control(self, received: ReceivedMessage[Control]) -> None:
        """Cancel, start or credit a caller's own attempt; the tenant is in the subject, where the server checks it."""
        control, tenant = received.message, received.token(_TENANT_TOKEN)
        match control.kind:
            case ControlKind.CANCEL:
                self._attempts.cancel(control.attempt_id, tenant)
            case ControlKind.START:
                self._attempts.confirm(control.attempt_id, tenant)
            case ControlKind.CREDIT:
                self._attempts.grant(control.attempt_id, tenant, control.credit_bytes)

    async def on_probe(self, received: ReceivedMessage[Probe]) -> ProbeReply:
        """Return which of a caller's attempts are not running here, or not any more."""
        return ProbeReply(unknown=self._attempts.unknown(received.message.attempt_ids))

    async def on_confirmed(self, received: ReceivedMessage[AttemptsConfirmed]) -> None:
        """Drop records from the spool that the ledger has committed."""
        confirmed = received.message
        self._spool.confirm(confirmed.spool_id, confirmed.spool_seqs)
        if confirmed.spool_id == self._spool.spool_id:
            self._watermarks.on_confirmed(confirmed.spool_seqs)


class KeyTestHandler:
    """Handles the vault's requests to test a key.

    `open_key` opens the key in one and raises InvalidDelivery; it is None for a worker without an identity with the vault.
    """

    def __init__(self, tester: KeyTester, open_key: Callable[[RunKeyTest], LeasedKey] | None) -> None:
        self._tester = tester
        self._open_key = open_key

    def register(self, bus: Bus) -> None:
        """Subscribe to the tests for this slot."""
        bus.subscribe(KEY_TEST_RUN, self.on_key_test, worker=bus.user)

    async def on_key_test(self, received: ReceivedMessage[RunKeyTest]) -> KeyTest:
        """Test a key. Raises Refused."""
        if self._open_key is None:
            why = "this worker has no identity with the key vault, so it can be given no key to test"
            raise Refused(ErrorCode.UNAVAILABLE, why)
        try:
            key = self._open_key(received.message)
        except InvalidDelivery as error:
            _log.error("rejected a key to test", extra={"why": str(error)})
            raise Refused(ErrorCode.INVALID, str(error)) from None
        return await self._tester.check(received.message, key)


class EndpointProbeHandler:
    """Handles the router's requests to try the address of an endpoint."""

    def __init__(self, prober: EndpointProber) -> None:
        self._prober = prober

    def register(self, bus: Bus) -> None:
        """Subscribe to the probes, which any slot may make."""
        bus.respond(ENDPOINT_PROBE, self.on_probe)

    async def on_probe(self, command: ProbeEndpoint) -> EndpointProbe:
        """Try an address."""
        return await self._prober.probe(command)
