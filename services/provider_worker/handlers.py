"""The worker's doors on the bus."""

import logging
from collections.abc import Awaitable, Callable

from nats.aio.msg import Msg

from keyferry.contracts.chat import AttemptRun, Control, ControlKind, Probe, Probed
from keyferry.contracts.envelope import MalformedMessage
from keyferry.contracts.key import RunKeyTest
from keyferry.contracts.service import ErrorCode, Refusal, refusal_reply
from keyferry.contracts.topology import ATTEMPT_RUN, KEY_TEST_RUN, WORKER_PROBE, reply_prefixes
from keyferry.contracts.usage import AttemptsConfirmed
from keyferry.sealing.delivery import InvalidDelivery
from keyferry.sealing.leased import LeasedKey
from services.provider_worker.attempt import Attempts
from services.provider_worker.key_test.tester import KeyTester
from services.provider_worker.spool import Spool

_log = logging.getLogger(__name__)

_CALLERS = reply_prefixes(ATTEMPT_RUN)
_PROBERS = reply_prefixes(WORKER_PROBE)
_CHECK_ASKERS = reply_prefixes(KEY_TEST_RUN)


class Doors:
    """Hears attempts, control and confirmations."""

    def __init__(self, attempts: Attempts, spool: Spool, spawn: Callable[[Awaitable[None]], None]) -> None:
        self._attempts = attempts
        self._spool = spool
        self._spawn = spawn

    async def on_attempt(self, message: Msg) -> None:
        """An attempt to make. One whose answer would go elsewhere than to a caller's inbox is dropped."""
        if not message.reply.startswith(_CALLERS):
            _log.warning("dropped an attempt whose answer would go astray")
            return
        try:
            run, body = AttemptRun.split(message.data)
        except MalformedMessage as error:
            _log.error("an attempt cannot be read", extra={"why": error.reason})
            return
        self._spawn(self._attempts.run(run, body, message.reply))

    async def on_control(self, message: Msg) -> None:
        """A caller's word on its own attempt; the tenant is in the subject, where the bus checks it."""
        try:
            control = Control.decode(message.data)
        except MalformedMessage as error:
            _log.error("a control message cannot be read", extra={"why": error.reason})
            return
        tenant = message.subject.rpartition(".")[2]
        match control.kind:
            case ControlKind.CANCEL:
                self._attempts.cancel(control.attempt_id, tenant)
            case ControlKind.CREDIT:
                self._attempts.grant(control.attempt_id, tenant, control.credit_bytes)

    async def on_probe(self, message: Msg) -> None:
        """A caller has not heard from us for a while: tell which of its attempts are not (or no longer) here."""
        if not message.reply.startswith(_PROBERS):
            _log.warning("dropped a probe whose answer would go astray")
            return
        try:
            probe = Probe.decode(message.data)
        except MalformedMessage as error:
            _log.error("a probe cannot be read", extra={"why": error.reason})
            return
        await message.respond(Probed(unknown=self._attempts.unknown(probe.attempt_ids)).encode())

    async def on_confirmed(self, message: Msg) -> None:
        """The ledger has committed records of ours."""
        try:
            confirmed = AttemptsConfirmed.decode(message.data)
        except MalformedMessage as error:
            _log.error("a confirmation cannot be read", extra={"why": error.reason})
            return
        self._spool.confirm(confirmed.spool_id, confirmed.spool_seqs)


class CheckDoor:
    """Runs the vault's key tests. `open_check` opens the key and raises InvalidDelivery; null without an identity."""

    def __init__(
        self,
        checker: KeyTester,
        open_check: Callable[[RunKeyTest], LeasedKey] | None,
        spawn: Callable[[Awaitable[None]], None],
    ) -> None:
        self._checker = checker
        self._open_check = open_check
        self._spawn = spawn

    async def on_check(self, message: Msg) -> None:
        """A test to make, beside everything else. One whose answer would go elsewhere than to the vault is dropped."""
        if not message.reply.startswith(_CHECK_ASKERS):
            _log.warning("dropped a test of a key whose answer would go astray")
            return
        self._spawn(self._answer(message))

    async def _answer(self, message: Msg) -> None:
        await message.respond(await self._answered(message.data))

    async def _answered(self, data: bytes) -> bytes:
        try:
            asked = RunKeyTest.decode(data)
            if self._open_check is None:
                why = "this worker has no identity with the key vault, so it can be given no key to test"
                return refusal_reply(Refusal(code=ErrorCode.UNAVAILABLE, message=why))
            key = self._open_check(asked)
            return (await self._checker.check(asked, key)).encode()
        except MalformedMessage as error:
            refusal = Refusal(code=ErrorCode.INVALID, message=error.reason)
        except InvalidDelivery as error:
            _log.error("a key to test was not taken", extra={"why": str(error)})
            refusal = Refusal(code=ErrorCode.INVALID, message=str(error))
        except Exception:  # the edge of the lane: the vault gets an answer, and the defect is in the log
            _log.exception("a test of a key failed")
            refusal = Refusal(code=ErrorCode.INTERNAL, message="the test failed; see the log of provider-worker")
        return refusal_reply(refusal)
