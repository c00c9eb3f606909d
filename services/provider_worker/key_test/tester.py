"""Tests a key against its provider: a few small calls through the guarded client, each with the key for its own origin only.

The calls are sequential and share one deadline. However a call ends is a finding; nothing raises for what a provider
sends or fails to send.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import orjson

from keyferry.contracts.chat import AttemptRun
from keyferry.contracts.failure import Failure, FailureClass, Where
from keyferry.contracts.key import KeyTest
from keyferry.contracts.lease import RunKeyTest
from keyferry.contracts.providers import PROVIDERS
from keyferry.contracts.usage import KeySource
from keyferry.runtime.upstream.client import Timeouts, UpstreamClient, UpstreamResponse
from keyferry.runtime.upstream.errors import IncompleteResponse, NoResponse, NotSent
from keyferry.sealing.leased import LeasedKey
from services.provider_worker.adapters.adapter import Adapter, Answer, AnswerReader, RefusedByAdapter, UpstreamRequest
from services.provider_worker.adapters.registry import adapter_for
from services.provider_worker.adapters.response.body import BufferingReader
from services.provider_worker.adapters.response.errors import make_failure
from services.provider_worker.key_test.credit import MAX_CREDIT_BYTES, combine_credit, read_credit
from services.provider_worker.key_test.listing import MAX_LIST_BYTES, first_chat_model, read_models
from services.provider_worker.key_test.plans import GetCall, KeyTestPlan, plan_for
from services.provider_worker.key_test.result import KeyTestFindings, ProbeExchange, conclude
from services.provider_worker.redaction.redactors import Redactors
from services.provider_worker.upstream.attach_key import METHOD, attach_key

TEST_SECONDS = 25.0
"""For all calls of a test together; the vault waits longer."""
TIMEOUTS = Timeouts(connect_seconds=5, first_byte_seconds=12, between_bytes_seconds=8)
_ANY_MODEL = "model"
"""Placeholder in a request that is not sent: it only shows how the adapter attaches a key."""


class _StopReading(Exception):
    """Leaves a response early: its connection is closed without waiting for the rest."""


AdapterOf = Callable[[str], Adapter]


class KeyTester:
    """Tests keys. `adapter_of` returns a provider's adapter and raises RefusedByAdapter if there is none."""

    def __init__(
        self,
        client: UpstreamClient,
        timeouts: Timeouts = TIMEOUTS,
        *,
        adapter_of: AdapterOf = adapter_for,
        within_seconds: float = TEST_SECONDS,
        redactors: Redactors | None = None,
    ) -> None:
        self._client = client
        self._timeouts = timeouts
        self._adapter_of = adapter_of
        self._within_seconds = within_seconds
        self._redactors = redactors or Redactors()

    async def check(self, command: RunKeyTest, key: LeasedKey) -> KeyTest:
        """Test the key with its provider, within the time limit. Raises nothing for what a provider does."""
        started_ns = time.monotonic_ns()
        findings = KeyTestFindings(origin=key.origin)
        try:
            until = asyncio.get_running_loop().time() + self._within_seconds
            adapter = self._adapter_of(key.provider)
            calls = _ProbeCalls(self._client, self._timeouts, adapter, command, key, until, self._redactors)
            await _run_calls(calls, findings)
        except RefusedByAdapter as error:
            refused = ProbeExchange(duration_ms=0, failure=error.failure)
            if findings.first is None:
                findings.first = refused
            else:
                findings.chat = findings.chat or refused
        redactor = self._redactors.for_call(key, {})
        return redactor.redact_key_test(conclude(findings, datetime.now(UTC), _ms_since(started_ns)))


async def _run_calls(calls: "_ProbeCalls", findings: KeyTestFindings) -> None:
    """Make the calls of a test, as far as they make sense. Raises RefusedByAdapter if one cannot be built at all."""
    plan = plan_for(calls.provider, calls.base_url)
    # Built before anything is sent, so that fields which the adapter rejects are reported at once.
    calls.chat_request(_ANY_MODEL)
    for get in (*plan.credit, *((plan.models,) if plan.models else ())):
        exchange, body = await calls.get(get, MAX_LIST_BYTES if get is plan.models else MAX_CREDIT_BYTES)
        _record(findings, plan, get, exchange, body)
        if findings.first is not None and findings.first.answered_ms is None:
            return
    await _chat(calls, findings)


def _record(findings: KeyTestFindings, plan: KeyTestPlan, get: GetCall, exchange: ProbeExchange, body: bytes) -> None:
    """Record the findings of a GET."""
    models = read_models(body) if body and get is plan.models else None
    credit = read_credit(body) if body and get is not plan.models else None
    if findings.first is None:
        findings.first = findings.access = exchange
        findings.proven = get.proves and (models is not None or credit is not None)
    if models is not None and plan.names_are_callable:
        findings.models = models
    if credit is not None:
        findings.credit = combine_credit(findings.credit, credit)
        findings.credit_ms = (findings.credit_ms or 0) + exchange.duration_ms


async def _chat(calls: "_ProbeCalls", findings: KeyTestFindings) -> None:
    """Call a model, which is what the key is for; repeat with a listed model if the default one does not exist."""
    default = PROVIDERS[calls.provider].test_model if calls.provider in PROVIDERS else None
    listed = first_chat_model(findings.models)
    model = calls.model or default or listed
    if model is None:
        findings.model_detail = "no model to call is known: allow the key a model, and test it again"
        return
    findings.chat, findings.chat_model = await calls.chat(model), model
    findings.first = findings.first or findings.chat
    gone = findings.chat.failure is not None and findings.chat.failure.failure_class is FailureClass.NOT_FOUND
    if (
        gone
        and model == default
        and listed not in (None, default)
        and all(default != known.name for known in findings.models)
    ):
        findings.chat, findings.chat_model = await calls.chat(listed or model), listed
        findings.model_detail = f"{default} cannot be called with this key"


class _ProbeCalls:
    """The calls of one test. Every method ends by `until`, in the event loop's time."""

    def __init__(
        self,
        client: UpstreamClient,
        timeouts: Timeouts,
        adapter: Adapter,
        command: RunKeyTest,
        key: LeasedKey,
        until: float,
        redactors: Redactors,
    ) -> None:
        self.provider = key.provider
        self.base_url = command.base_url.rstrip("/")
        self.model = command.model or command.fields.get("deployment")
        self._fields = command.fields
        self._client = client
        self._timeouts = timeouts
        self._adapter = adapter
        self._key = key
        self._until = until
        self._redactors = redactors

    def chat_request(self, model: str) -> tuple[AttemptRun, UpstreamRequest]:
        """Build the smallest chat with the adapter. Raises RefusedByAdapter."""
        run = _run(self.provider, model, self.base_url, self._fields)
        body = {
            "model": model,
            "messages": [{"role": "user", "content": "Hi"}],
            "max_completion_tokens": 1,
        }
        return run, self._adapter.request(run, orjson.dumps(body))

    async def chat(self, model: str) -> ProbeExchange:
        """Request one token from a model."""
        run, request = self.chat_request(model)
        exchange, _ = await self._exchange(
            METHOD, request, lambda status, headers: self._adapter.reader(run, request, status, headers)
        )
        return exchange

    async def get(self, get: GetCall, max_bytes: int) -> tuple[ProbeExchange, bytes]:
        """Make one GET with the key; return its body only if it succeeded."""
        run, like = self.chat_request(self.model or _ANY_MODEL)
        headers = {name: value for name, value in like.headers.items() if name.lower() != "content-type"}
        request = UpstreamRequest(
            url=get.url(self.base_url, self._fields), headers={**headers, **get.headers}, content=b"", auth=like.auth
        )

        def reader(status: int, headers: Mapping[str, str]) -> AnswerReader:
            return BodyReader(max_bytes) if 200 <= status < 300 else self._adapter.reader(run, request, status, headers)

        exchange, answer = await self._exchange("GET", request, reader)
        return exchange, answer.body if exchange.failure is None else b""

    async def _exchange(
        self, method: str, request: UpstreamRequest, reader_of: Callable[[int, Mapping[str, str]], AnswerReader]
    ) -> tuple[ProbeExchange, Answer]:
        started_ns = time.monotonic_ns()
        answered_ms: int | None = None
        answer = Answer()
        failure: Failure | None = None
        try:
            headers = attach_key(request, self._key, datetime.now(UTC))
            async with asyncio.timeout_at(self._until):
                async with self._client.stream(
                    method, request.url, headers, request.content, self._timeouts
                ) as response:
                    answered_ms = _ms_since(started_ns)
                    redactor = self._redactors.for_call(self._key, headers)
                    received = redactor.redact_headers(response.headers)
                    reader = redactor.guard(reader_of(response.status, received), response.status)
                    answer = await _read(response, reader)
                    failure = answer.failure
                    self._redactors.report(redactor, self._key)
                    if reader.over:
                        raise _StopReading
        except _StopReading:
            pass
        except (NotSent, NoResponse, IncompleteResponse, TimeoutError) as error:
            failure = _failure_of(error)
        return ProbeExchange(_ms_since(started_ns), answered_ms, failure), answer


async def _read(response: UpstreamResponse, reader: AnswerReader) -> Answer:
    """Read the answer until it is over. Raises IncompleteResponse."""
    async for data in response.aiter_raw():
        reader.feed(data)
        if reader.over:
            break
    return reader.close()


def _failure_of(error: Exception) -> Failure:
    """Return the failure of a call without an answer, or with an incomplete one."""
    if isinstance(error, NotSent):
        kind, where = FailureClass.UNREACHABLE, Where.NOT_SENT
    elif isinstance(error, NoResponse):
        kind, where = (FailureClass.TIMEOUT if error.timed_out else FailureClass.SERVER), Where.NO_ANSWER
    elif isinstance(error, IncompleteResponse):
        kind, where = FailureClass.TRUNCATED, Where.MID_STREAM
    else:
        return Failure(
            failure_class=FailureClass.TIMEOUT,
            message="the provider took longer than a key test may take; try again",
            where=Where.NO_ANSWER,
        )
    return Failure(failure_class=kind, message=str(error), where=where)


def _run(provider: str, model: str, base_url: str, fields: Mapping[str, str]) -> AttemptRun:
    """Build an attempt like the router's, for the adapter."""
    return AttemptRun(
        request_id="req_key_check",
        tenant="platform",
        model=model,
        model_asked=model,
        stream=False,
        deadline_ms=int(TEST_SECONDS * 1000),
        start_by_unix_ms=0,
        attempt_id="att_key_check",
        attempt_number=1,
        decision_id="dec_key_check",
        provider=provider,
        base_url=base_url,
        key_source=KeySource.BYOK,
        key_fields=dict(fields),
        drop_unsupported=True,
    )


def _ms_since(started_ns: int) -> int:
    return (time.monotonic_ns() - started_ns) // 1_000_000


class BodyReader(BufferingReader):
    """Keeps at most `max_bytes`; a longer body is a failure."""

    def __init__(self, max_bytes: int) -> None:
        super().__init__(max_bytes)
        self._max_bytes = max_bytes

    def close(self) -> Answer:
        """Return the body."""
        if self._body.too_large:
            message = f"The provider's response is larger than {self._max_bytes} bytes."
            return Answer(failure=make_failure(FailureClass.SERVER, message, Where.HTTP_200_BODY))
        return Answer(body=self._body.content)
