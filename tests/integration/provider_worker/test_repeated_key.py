"""A call and a key test over HTTP, to a provider that repeats the key everywhere: nothing that comes of them holds it."""

import logging
from ipaddress import ip_network
from urllib.parse import urlsplit

import pytest

from keyferry.contracts.chat import AttemptRun
from keyferry.contracts.secret import Secret
from keyferry.contracts.usage import KeySource
from keyferry.runtime.upstream.client import Timeouts, UpstreamClient
from keyferry.sealing.leased import LeasedKey
from services.provider_worker.adapters.registry import ADAPTERS
from services.provider_worker.http_call import HttpProvider
from services.provider_worker.key_test.tester import KeyTester
from services.provider_worker.provider_call import Phase
from services.provider_worker.redaction.redactors import Redactors
from tests.integration.provider_worker.key_test.provider import build_command
from tests.support.canary.joined_texts import joined_texts
from tests.support.canary.key_journeys import KeyEchoingProvider
from tests.support.canary.repeating_answers import ANSWERS
from tests.support.canary.searcher import Canary, Searcher
from tests.support.providers.attempt_runs import attempt_run
from tests.support.providers.openai_double import key_of
from tests.support.providers.upstream import Upstream, running_upstream

KEY = "correct-4fJ0q2LxWzP8aZ7_horse-9sD1mKtYbV3aZ7"
SEARCHER = Searcher([Canary("key", KEY)])
TIMEOUTS = Timeouts(connect_seconds=20, first_byte_seconds=20, between_bytes_seconds=20)


class Deliveries:
    """Keeps what a call delivers."""

    def __init__(self) -> None:
        self.texts: list[bytes] = []

    def enter(self, phase: Phase) -> None:
        """Do nothing."""

    async def deliver(self, texts: list[bytes]) -> None:
        """Keep chunk texts."""
        self.texts += texts


def leased(upstream: Upstream) -> LeasedKey:
    parts = urlsplit(upstream.base_url)
    return LeasedKey(
        owner="acme",
        provider="custom",
        key_id="key_0001",
        version=1,
        origin=f"{parts.scheme}://{parts.netloc}",
        not_after_unix_ms=2_000_000_000_000,
        key=Secret(KEY),
    )


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("model", ANSWERS)
async def test_a_call_lets_nothing_through(model: str, stream: bool, caplog: pytest.LogCaptureFixture) -> None:
    client, redactors, progress = UpstreamClient(allow=(ip_network("127.0.0.0/8"),)), Redactors(), Deliveries()
    with running_upstream(KeyEchoingProvider(set()).answer) as upstream, caplog.at_level(logging.DEBUG):
        key = leased(upstream)

        async def lease(run: AttemptRun, origin: str, body: bytes) -> LeasedKey:
            return key

        run = attempt_run(stream=stream, include_usage=True, base_url=upstream.base_url, model=model)
        run = run.model_copy(update={"key_id": key.key_id, "key_source": KeySource.BYOK})
        provider = HttpProvider(ADAPTERS["custom"], client, TIMEOUTS, lease, redactors)
        call = provider.prepare(run, b'{"model":"m","messages":[{"role":"user","content":"hi"}]}')
        await call.make(progress)
        await client.close()
        assert [key_of(made.request) for made in upstream.calls] == [KEY]
    output = "\n".join((*joined_texts(progress.texts), repr(progress.texts), repr(call.answer)))
    assert not SEARCHER.found(output.encode())
    assert "[redacted]" in output
    assert redactors.repetitions == 1
    records = "\n".join(str(record.__dict__) for record in caplog.records if record.name.startswith("services"))
    assert "a provider repeated the key" in records
    assert not SEARCHER.found(records.encode())


async def test_a_key_test_reports_nothing_of_the_key() -> None:
    client, redactors = UpstreamClient(allow=(ip_network("127.0.0.0/8"),)), Redactors()
    with running_upstream(KeyEchoingProvider(set()).answer) as upstream:
        key = leased(upstream)
        for model in (None, *ANSWERS):
            command = build_command("custom", upstream.base_url, model)
            check = await KeyTester(client, TIMEOUTS, redactors=redactors).check(command, key)
            assert not SEARCHER.found(check.model_dump_json().encode())
            assert check.models == ["gpt-4o-mini", "text-embedding-3-small"]
        await client.close()
    assert redactors.repetitions >= 1 + len(ANSWERS)
