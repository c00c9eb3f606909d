"""Streams under stress, through the whole system: clients that hang up, processes that die or freeze, slow readers.

The provider's own log is the oracle, and every answer's text is known beforehand: an answer that looks whole must be whole.
"""

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support.clients.stream_clients import ClientResponse
from tests.support.ledger.accounting import wait_until_accounted
from tests.support.providers.scripted_answers import Script, calls_of
from tests.support.providers.upstream import Call
from tests.support.random_seed import VARIABLE
from tests.support.system.process_tree import frozen
from tests.support.system.scripted_system import ScriptedSystem
from tests.support.waiting import until

SEED = int(os.environ.get(VARIABLE, "20260901"))
WORKERS = ("provider_worker-1", "provider_worker-2")
DEAD_WORKER_SECONDS = 10.0
"""Five times the two seconds that a client needs at most to hear of a dead worker."""
BUS_BACK_SECONDS = 15.0
"""Three times the five seconds after which service has to be back."""
STILL_SECONDS = 2.0
"""Less than the time after which the gateway gives up a client that takes nothing."""


@contextmanager
def freeze(*pids: int) -> Iterator[None]:
    """Freeze processes while the block lasts."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        for pid in pids:
            until(f"{pid} is frozen", lambda pid=pid: frozen(pid))  # type: ignore[misc]
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def check_outcome(ending: ClientResponse, script: Script) -> str:
    """Return what a client saw. Fails if an answer looks complete and is not, or no failure was reported."""
    assert not ending.timed_out, f"{script.name} never ended"
    if ending.whole:
        assert ending.text == script.text, f"{script.name} was delivered as whole with a hole in it"
        return "whole"
    assert ending.reported_failure, (script.name, ending.status, ending.body[-300:])
    assert script.text.startswith(ending.text), f"{script.name} got words that are not the beginning of its answer"
    return "failed"


CUTS = [random.Random(SEED + number).random() for number in range(8)]


@pytest.mark.parametrize("share", CUTS)
def test_a_client_that_hangs_up_at_any_byte_stops_the_provider(scripted: ScriptedSystem, share: float) -> None:
    detail = 60
    script = Script(f"cut-{share:.12f}".replace(".", "_"), detail, pause_seconds=0.05)
    # Somewhere between the head of the answer and its 30th word, so that the provider still has a good deal to say.
    request = scripted.ask(script, cut_after_bytes=1 + int(share * 5500))
    request.result()
    call = scripted.call(script)
    so_far = call.pieces
    until("the provider's connection is closed", lambda: call.over)
    assert not call.finished
    assert call.pieces - so_far < 10
    (attempt,) = scripted.ledger.of_operation(script.name)
    assert attempt.outcome == "cancelled"
    assert attempt.usage_source in ("estimated", "reported")
    assert attempt.input_tokens + attempt.output_tokens > 0


def test_a_client_that_hangs_up_before_the_first_byte_stops_the_provider(scripted: ScriptedSystem) -> None:
    script = Script("cut-early", 60, pause_seconds=2.0)
    request = scripted.ask(script)
    call = scripted.call(script)
    request.hang_up()
    until("the provider's connection is closed", lambda: call.over)
    assert call.pieces < 10
    (attempt,) = scripted.ledger.of_operation(script.name)
    assert (attempt.outcome, attempt.usage_source) == ("cancelled", "estimated")
    assert attempt.input_tokens > 0


def test_a_client_that_ends_its_side_stops_the_provider_and_gets_the_reason(scripted: ScriptedSystem) -> None:
    script = Script("half-closed", 60, pause_seconds=2.0)
    request = scripted.ask(script)
    call = scripted.call(script)
    request.end_sending()
    ending = request.result()
    assert (ending.status, ending.whole) == (400, False)
    assert b"client_closed_request" in ending.body
    until("the provider's connection is closed", lambda: call.over)
    assert call.pieces < 10
    (attempt,) = scripted.ledger.of_operation(script.name)
    assert attempt.outcome == "cancelled"


@pytest.mark.timeout(180)
def test_a_worker_killed_in_mid_stream_ends_its_streams_with_an_error(scripted: ScriptedSystem) -> None:
    scripts = [Script(f"killed-{number}", 600, pause_seconds=0.05) for number in range(6)]
    pending = [scripted.ask(script) for script in scripts]
    until("all are being answered", lambda: all(scripted.call(script).pieces > 5 for script in scripts))
    for worker in WORKERS:
        scripted.system.kill(worker, wait=False)
    until("every client is notified", lambda: all(request.ending.done() for request in pending), DEAD_WORKER_SECONDS)
    for request, script in zip(pending, scripts, strict=True):
        assert check_outcome(request.result(), script) == "failed"
        (attempt,) = scripted.ledger.of_operation(script.name)
        assert attempt.outcome == "indeterminate"
    serving(scripted, "after-the-kill")


def serving(scripted: ScriptedSystem, name: str, timeout_seconds: float = 60.0) -> None:
    """Wait until a request is answered again."""
    tries = iter(range(1_000_000))

    def answered() -> bool:
        script = Script(f"{name}-{next(tries)}", 2)
        return check_outcome(scripted.ask(script).result(), script) == "whole"

    until("service is back", answered, timeout_seconds)


@pytest.mark.parametrize("streams", [pytest.param(50, id="50"), pytest.param(200, id="200", marks=pytest.mark.long)])
def test_a_frozen_ingress_delivers_no_hole(scripted: ScriptedSystem, streams: int) -> None:
    scripts = [Script(f"frozen-{streams}-{number}", 150, pause_seconds=0.04) for number in range(streams)]
    pending = [scripted.ask(script) for script in scripts]
    until("all are being answered", lambda: all(request.received_bytes > 1000 for request in pending))
    written = sum(call.pieces for call in scripted.upstream.calls)
    with freeze(scripted.system.pid("ingress")):
        # Three seconds of all streams, measured by what the provider has written meanwhile.
        more = streams * 75
        until(
            "three seconds of words are on their way",
            lambda: sum(c.pieces for c in scripted.upstream.calls) > written + more,
        )
    outcomes = [check_outcome(request.result(), script) for request, script in zip(pending, scripts, strict=True)]
    print(f"frozen ingress, {streams} streams: {outcomes.count('whole')} whole, {outcomes.count('failed')} failed")
    serving(scripted, f"after-the-freeze-{streams}")


def test_a_slow_reader_holds_the_provider_back(scripted: ScriptedSystem) -> None:
    script = Script("slow-reader", 6000, padding=8000)  # 48 MB of text
    request = scripted.ask(script, receive_buffer_bytes=64 * 1024)
    call = scripted.call(script)
    until("it is being answered", lambda: request.received_bytes > 0)
    request.stop_reading()
    held_bytes = wait_until_still(call)
    assert not call.over
    # Sockets hold up to 4 MB on their sending and 6 MB on their receiving side (tcp_wmem, tcp_rmem of tcp(7)), and there are
    # two between the provider and this client; what the gateway itself holds is a fraction of a megabyte.
    assert held_bytes < 24_000_000, "the provider could write most of it though nobody reads"
    request.read_on()
    assert check_outcome(request.result(), script) == "whole"


def wait_until_still(call: Call) -> int:
    """Wait until the provider has written nothing for a while. Return the bytes that it could write."""
    written_bytes, since = -1, time.monotonic()

    def still() -> bool:
        nonlocal written_bytes, since
        if call.written_bytes != written_bytes:
            written_bytes, since = call.written_bytes, time.monotonic()
        return time.monotonic() - since > STILL_SECONDS

    until("the provider is held back", still)
    return written_bytes


def test_a_whole_answer_of_several_megabytes_arrives_whole(scripted: ScriptedSystem) -> None:
    script = Script("several-megabytes", 1000, padding=6000)
    ending = scripted.ask(script, stream=False).result()
    assert ending.whole, ending.body[:300]
    assert len(ending.body) > 6_000_000
    assert ending.text == script.text


def test_two_hundred_small_streams_at_once_all_arrive_whole(scripted: ScriptedSystem) -> None:
    scripts = [Script(f"many-{number}", 40, pause_seconds=0.05) for number in range(200)]
    pending = [scripted.ask(script) for script in scripts]
    assert {check_outcome(request.result(), script) for request, script in zip(pending, scripts, strict=True)} == {
        "whole"
    }
    assert all(len(calls_of(scripted.upstream, script.name)) == 1 for script in scripts)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("how", ["killed", "frozen"])
def test_without_the_bus_requests_fail_clearly_and_nothing_is_paid_twice(scripted: ScriptedSystem, how: str) -> None:
    under_way = [Script(f"bus-{how}-{number}", 120, pause_seconds=0.05) for number in range(20)]
    pending = {script: scripted.ask(script) for script in under_way}
    until("all are being answered", lambda: all(scripted.call(script).pieces > 5 for script in under_way))
    meanwhile = [Script(f"bus-{how}-meanwhile-{number}", 3) for number in range(10)]
    if how == "killed":
        before = scripted.system.pid("nats")
        scripted.system.kill("nats", wait=False)
        pending |= {script: scripted.ask(script) for script in meanwhile}
        until("the bus is back", lambda: scripted.system.pid("nats") != before)
    else:
        with freeze(scripted.system.pid("nats")):
            pending |= {script: scripted.ask(script) for script in meanwhile}
            until("a request gives up", lambda: any(pending[script].ending.done() for script in meanwhile))
    serving(scripted, f"after-the-bus-was-{how}", BUS_BACK_SECONDS)
    endings = {script.name: request.result() for script, request in pending.items()}
    outcomes = Counter(check_outcome(endings[script.name], script) for script in pending)
    print(f"bus {how}: {dict(outcomes)}")
    wait_until_accounted(endings, scripted.upstream, scripted.ledger)
