"""A stream whose last blank line is missing: a worker's call delivers what only the end of the body completed."""

from ipaddress import ip_network

from keyferry.contracts.usage import Outcome
from services.provider_worker.adapters.registry import ADAPTERS
from services.provider_worker.attempt import Progress
from services.provider_worker.calling import http_provider
from services.provider_worker.delivery import Delivery
from services.provider_worker.upstream.client import Timeouts, UpstreamClient
from tests.support.providers.attempt_runs import attempt_run
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
            progress = Progress(Delivery("att_test", publish, 1_000_000), 0.0)
            answer = await http_provider(ADAPTERS["custom"], client, TIMEOUTS)(run, BODY).call(progress)
            await progress.delivery.end(Outcome.COMPLETED)
    finally:
        await client.close()
    assert answer.failure is None
    assert progress.delivery.deltas == 2
    assert LAST in b"".join(sent)
