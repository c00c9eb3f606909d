"""Two thousand open streams at five tokens a second each, through one ingress and two workers."""

from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.clients.stream_clients import stream_clients
from tests.support.providers.paced_provider import paced_provider
from tests.support.system.keyferry_system import running_system
from tests.support.system.resource_usage import ResourceUsage, resource_usage
from tests.support.waiting import until

STREAMS = 2000
AT_ONCE = 10
"""Streams that have been asked for and have not begun: opening them one after the other, as users do."""
WORDS, WORDS_PER_SECOND = 500, 5.0
MAX_RESIDENT_BYTES = 1_500_000_000


@pytest.mark.long
@pytest.mark.timeout(600)
def test_two_thousand_open_streams_arrive_whole_in_bounded_memory(tmp_path: Path) -> None:
    with ExitStack() as stack:
        provider = stack.enter_context(paced_provider(WORDS, WORDS_PER_SECOND))
        system = stack.enter_context(running_system(tmp_path / "home"))
        system.add_endpoint("paced", provider.base_url, "m")
        clients = stack.enter_context(stream_clients(system.http_url, system.token, give_up_seconds=500))

        def used() -> ResourceUsage:
            return resource_usage(system.launcher.pid)

        before = used()
        pending = []
        for number in range(STREAMS):
            pending.append(clients.ask("paced/m", "hi", operation=f"paced-{number}"))
            due = pending[max(0, number - AT_ONCE)]
            until(f"stream {max(0, number - AT_ONCE)} has begun", lambda due=due: due.received_bytes > 0)  # type: ignore[misc]
        until("the last streams have begun", lambda: all(request.received_bytes for request in pending))
        ended = [request.result() for request in pending if request.ending.done()]
        assert not ended, f"not all were open at the same time: {len(ended)} have ended, {ended[0].error}"
        resident_bytes = used().resident_bytes

        endings = [request.ending.result(500) for request in pending]
        cpu_seconds = used().cpu_seconds - before.cpu_seconds
        tokens = STREAMS * WORDS
        print(
            f"{STREAMS} streams: {resident_bytes / 1e6:.0f} MB resident in all processes, "
            f"{cpu_seconds * 1e6 / tokens:.0f} µs of CPU for each of {tokens} tokens"
        )
        failed = [ending for ending in endings if not ending.whole]
        assert not failed, f"{len(failed)} streams failed, the first with {failed[0].status} {failed[0].error}"
        assert {ending.text for ending in endings} == {provider.text}
        assert resident_bytes < MAX_RESIDENT_BYTES
