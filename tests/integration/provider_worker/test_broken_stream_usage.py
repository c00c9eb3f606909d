"""A stream that breaks off after usage was reported: the reported figures are recorded, as reported."""

import asyncio
import time
from ipaddress import ip_network
from pathlib import Path

import pytest
from nats.js import JetStreamContext

from keyferry.contracts.usage import AttemptRecord, Outcome, TokenUsage, UsageSource
from keyferry.runtime.bus.publishing import BatchPublisher
from keyferry.runtime.process.telemetry import Telemetry
from services.provider_worker.adapters.registry import ADAPTERS
from services.provider_worker.attempt import WorkerContext
from services.provider_worker.attempt_registry import AttemptRegistry
from services.provider_worker.http_call import HttpProvider
from services.provider_worker.spool import Spool
from services.provider_worker.upstream.client import Timeouts, UpstreamClient
from tests.support.providers.attempt_runs import attempt_run
from tests.support.providers.raw_http_server import Call, raw_http_server

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


async def record_of(provider: str, events: bytes, folder: Path) -> AttemptRecord:
    """The record of an attempt whose stream sends these events and is then reset."""

    async def break_off(call: Call) -> None:
        await call.send(HEAD, b"%x\r\n%b\r\n" % (len(events), events))
        await delivered.wait()
        call.reset()

    async def send(subject: str, data: bytes, reply: str) -> None:
        if b'"content":"a"' in data:
            delivered.set()

    def no_bus() -> JetStreamContext:
        raise AssertionError("nothing is published here")

    delivered = asyncio.Event()
    spool = Spool(folder)
    spool.open()
    publisher = BatchPublisher(no_bus, "attempts", producer="worker-1")
    context = WorkerContext("worker-1", "inst_1", spool, publisher, send)
    client = UpstreamClient(allow=(ip_network("127.0.0.0/8"),))
    try:
        async with raw_http_server(break_off) as double:
            run = attempt_run(stream=True, base_url=f"http://127.0.0.1:{double.port}").model_copy(
                update={"provider": provider, "start_by_unix_ms": time.time_ns() // 1_000_000 + 60_000}
            )
            providers = {provider: HttpProvider(ADAPTERS[provider], client, TIMEOUTS)}
            attempts = AttemptRegistry(context, providers, telemetry=Telemetry("provider_worker"), capacity=1)
            await attempts.run(run, BODY, "_INBOX_test.1")
    finally:
        await client.close()
    (record,) = (AttemptRecord.decode(line) for line in spool.due(time.monotonic() + 1e6, at_most=10))
    return record


@pytest.mark.parametrize(("provider", "events"), [("custom", OPENAI), ("anthropic", ANTHROPIC), ("gemini", GEMINI)])
async def test_usage_reported_before_a_stream_breaks_off_is_recorded(
    provider: str, events: bytes, tmp_path: Path
) -> None:
    record = await record_of(provider, events, tmp_path)
    assert record.outcome is Outcome.FAILED
    assert record.token_usage == TokenUsage(input=500, output=3)
    assert (record.usage_source, record.usage_note) == (UsageSource.REPORTED, None)
