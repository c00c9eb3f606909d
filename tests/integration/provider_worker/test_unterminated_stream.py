"""A stream whose last blank line is missing: the last event, completed by the end of the body, is delivered."""

from ipaddress import ip_network

from keyferry.contracts.usage import Outcome
from keyferry.runtime.upstream.client import Timeouts, UpstreamClient
from services.provider_worker.adapters.registry import ADAPTERS
from services.provider_worker.frame_writer import FrameWriter
from services.provider_worker.http_call import HttpProvider
from services.provider_worker.provider_call import Phase
from tests.support.providers.attempt_runs import attempt_run
from tests.support.providers.call_progress import CallProgress
from tests.support.providers.raw_http_server import answers, raw_http_server, reply

BODY = b'{"model":"m","messages":[{"role":"user","content":"hi"}]}'
LAST = b'{"choices":[{"index":0,"delta":{"content":"b"},"finish_reason":"stop"}]}'
STREAM = b'data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\ndata: ' + LAST
TIMEOUTS = Timeouts(connect_seconds=20, first_byte_seconds=20, between_bytes_seconds=20)


async def test_the_last_piece_is_delivered_without_its_blank_line() -> None:
    sent: list[bytes] = []

    async def publish(frame: bytes) -> None:
        sent.append(frame)

    client = UpstreamClient(allow=(ip_network("127.0.0.0/8"),))
    try:
        async with raw_http_server(answers(reply(STREAM, "content-type: text/event-stream"))) as double:
            run = attempt_run(stream=True, base_url=f"http://127.0.0.1:{double.port}")
            progress = CallProgress(FrameWriter("att_test", publish, 1_000_000))
            call = HttpProvider(ADAPTERS["custom"], client, TIMEOUTS).prepare(run, BODY)
            await call.make(progress)
            await progress.frames.end(Outcome.COMPLETED)
    finally:
        await client.close()
    assert call.answer.failure is None
    assert progress.phases == [Phase.SENDING]
    assert progress.frames.deltas == 2
    assert LAST in b"".join(sent)
