"""What is recorded of an answer whose connection ends in another way than its provider meant."""

import asyncio
import gzip
import time
from ipaddress import ip_network
from pathlib import Path

import pytest
from nats.js import JetStreamContext

from keyferry.contracts.failure import FailureClass
from keyferry.contracts.route import DecisionRecord
from keyferry.contracts.usage import AttemptRecord, Outcome, TokenUsage, UsageSource
from keyferry.runtime.bus.publishing import BatchPublisher
from keyferry.runtime.tracing.telemetry import Telemetry
from keyferry.runtime.upstream.client import Timeouts, UpstreamClient
from services.provider_worker.adapters.registry import ADAPTERS
from services.provider_worker.admission.limits import AdmissionLimits
from services.provider_worker.attempt import WorkerContext
from services.provider_worker.attempt_registry import AttemptRegistry
from services.provider_worker.held_limits import HeldLimits
from services.provider_worker.http_call import HttpProvider
from services.provider_worker.spool import Spool
from tests.support.providers.attempt_runs import attempt_run
from tests.support.providers.limit_counts import count_nowhere
from tests.support.providers.raw_http_server import Behaviour, Call, answers, raw_http_server, reply

BODY = b'{"model":"m","messages":[{"role":"user","content":"hi"}]}'
TIMEOUTS = Timeouts(connect_seconds=20, first_byte_seconds=20, between_bytes_seconds=20)
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
OPENAI = (
    b'data: {"choices":[{"index":0,"delta":{"content":"a"}}],"usage":{"prompt_tokens":500,"completion_tokens":3,'
    b'"total_tokens":503}}\n\n'
)
ANTHROPIC = (
    b'event: message_start\ndata: {"type":"message_start","message":{"usage":{"input_tokens":500,"output_tokens":3}}}\n\n'
    b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a"}}\n\n'
)
GEMINI = (
    b'data: {"candidates":[{"content":{"parts":[{"text":"a"}]}}],"usageMetadata":{"promptTokenCount":500,'
    b'"candidatesTokenCount":3,"totalTokenCount":503}}\n\n'
)


async def record_of(
    provider: str,
    behave: Behaviour,
    folder: Path,
    *,
    stream: bool = True,
    deadline_ms: int = 60_000,
    delivered: asyncio.Event | None = None,
) -> AttemptRecord:
    """The record of an attempt at a server that behaves like this; `delivered` is set once the text is at the caller."""

    async def send(subject: str, data: bytes, reply: str) -> None:
        if delivered is not None and b'"content":"a"' in data:
            delivered.set()

    def no_bus() -> JetStreamContext:
        raise AssertionError("nothing is published here")

    spool = Spool(folder)
    spool.open()
    publisher = BatchPublisher(no_bus, "attempts", producer="worker-1")
    refused: list[DecisionRecord] = []
    context = WorkerContext("worker-1", "inst_1", spool, publisher, refused.append, send, HeldLimits(count_nowhere))
    client = UpstreamClient(allow=(ip_network("127.0.0.0/8"),))
    try:
        async with raw_http_server(behave) as double:
            run = attempt_run(stream=stream, base_url=f"http://127.0.0.1:{double.port}").model_copy(
                update={
                    "provider": provider,
                    "start_by_unix_ms": time.time_ns() // 1_000_000 + 60_000,
                    "deadline_ms": deadline_ms,
                }
            )
            providers = {provider: HttpProvider(ADAPTERS[provider], client, TIMEOUTS)}
            attempts = AttemptRegistry(
                context, providers, telemetry=Telemetry("provider_worker"), limits=AdmissionLimits(1)
            )
            await attempts.run(run, BODY, "_INBOX_test.1")
    finally:
        await client.close()
    (record,) = (AttemptRecord.decode(one.line) for one in spool.due(time.monotonic() + 1e6, at_most=10))
    return record


@pytest.mark.parametrize(("provider", "events"), [("custom", OPENAI), ("anthropic", ANTHROPIC), ("gemini", GEMINI)])
async def test_usage_reported_before_a_stream_breaks_off_is_recorded(
    provider: str, events: bytes, tmp_path: Path
) -> None:
    delivered = asyncio.Event()

    async def break_off(call: Call) -> None:
        await call.send(HEAD, b"%x\r\n%b\r\n" % (len(events), events))
        await delivered.wait()
        call.reset()

    record = await record_of(provider, break_off, tmp_path, delivered=delivered)
    assert record.outcome is Outcome.FAILED
    assert record.token_usage == TokenUsage(input=500, output=3)
    assert (record.usage_source, record.usage_note) == (UsageSource.REPORTED, None)


DOCUMENT = (
    b'{"choices":[{"index":0,"message":{"role":"assistant","content":"a"},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":500,"completion_tokens":3,"total_tokens":503}}'
)
FINISHED = OPENAI.replace(b'"content":"a"}}', b'"content":"a"},"finish_reason":"stop"}')
OPEN_CHUNKS = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


@pytest.mark.parametrize(
    "sent",
    [
        reply(DOCUMENT) + b"stray bytes",
        reply(DOCUMENT + b"\n\0data: [DONE]"),
        b"HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n" + DOCUMENT,
        OPEN_CHUNKS + chunk(DOCUMENT),
        OPEN_CHUNKS + chunk(DOCUMENT) + b"0\r\n\r\nstray bytes",
        OPEN_CHUNKS + chunk(DOCUMENT) + b"stray bytes",
        reply(gzip.compress(DOCUMENT) + b"stray bytes", "content-encoding: gzip"),
    ],
    ids=["behind the length", "in the body", "too long a length", "no last chunk", "behind chunks", "between", "gzip"],
)
async def test_a_complete_document_is_an_answer_however_its_connection_ends(sent: bytes, tmp_path: Path) -> None:
    record = await record_of("custom", answers(sent, close=True), tmp_path, stream=False)
    assert (record.outcome, record.failure) == (Outcome.COMPLETED, None)
    assert (record.token_usage, record.usage_source) == (TokenUsage(input=500, output=3), UsageSource.REPORTED)


async def test_a_finished_stream_is_an_answer_however_its_connection_ends(tmp_path: Path) -> None:
    record = await record_of("custom", answers(HEAD + chunk(FINISHED), close=True), tmp_path)
    assert (record.outcome, record.failure, record.finish_reason) == (Outcome.COMPLETED, None, "stop")


async def test_half_a_document_is_no_answer(tmp_path: Path) -> None:
    record = await record_of("custom", answers(OPEN_CHUNKS + chunk(DOCUMENT[:-3]), close=True), tmp_path, stream=False)
    assert record.outcome is Outcome.FAILED
    assert record.failure is not None
    assert record.failure.failure_class is FailureClass.TRUNCATED


async def test_comments_that_keep_a_stream_alive_do_not_outlive_the_deadline(tmp_path: Path) -> None:
    async def comments(call: Call) -> None:
        await call.send(HEAD)
        while not call.writer.is_closing():
            await call.send(chunk(b": keep-alive\n\n"))
            await asyncio.sleep(0.01)

    record = await record_of("custom", comments, tmp_path, deadline_ms=300)
    assert record.outcome is Outcome.FAILED
    assert record.failure is not None
    assert record.failure.failure_class is FailureClass.TIMEOUT
