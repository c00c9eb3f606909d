"""The fake and the real system behave the same for a program: answers, deltas, errors and cancellation."""

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

import pytest

from keyferry.client import BadRequest, ChatAnswer, Delta, KeyferryError
from keyferry.contracts.failure import FailureClass
from keyferry.contracts.feedback import Feedback
from keyferry.contracts.usage import KeySource
from tests.support.clients.fake_and_real import Script, Side, connect_demo, fake_side, real_side
from tests.support.system.keyferry_system import KeyferrySystem
from tests.support.waiting import eventually_async

HELLO = [{"role": "user", "content": "hello there"}]
WORDS = ("Hel", "lo, ", "world")

Open = Callable[[int], AbstractAsyncContextManager[Side]]
"""Opens a side whose client makes at most that many retries."""


@pytest.fixture(params=["fake", "real"])
def open_side(request: pytest.FixtureRequest, system: KeyferrySystem) -> Open:
    if request.param == "fake":
        return lambda retries: fake_side(max_retries=retries)
    return lambda retries: real_side(system, max_retries=retries)


@pytest.fixture
async def side(open_side: Open) -> AsyncIterator[Side]:
    async with open_side(0) as found:
        yield found


@dataclass(frozen=True)
class VisibleError:
    """What a program sees of an error, except its text."""

    kind: str
    where: str
    status: int | None
    retry_after_seconds: float | None
    has_request_id: bool
    has_decision_id: bool
    attempt_number: int | None


def visible(error: KeyferryError) -> VisibleError:
    return VisibleError(
        kind=type(error).__name__,
        where=error.failure.where.value,
        status=error.failure.status,
        # The gateway subtracts what has passed since the provider named the time.
        retry_after_seconds=None if error.retry_after_seconds is None else math.ceil(error.retry_after_seconds),
        has_request_id=(error.request_id or "").startswith("req_"),
        has_decision_id=(error.decision_id or "").startswith("dec_"),
        attempt_number=error.route.attempt_number if error.route else None,
    )


async def whole(side: Side, model: str | None = None, timeout_seconds: float = 30) -> ChatAnswer:
    return await side.client.chat(model=model or side.model, messages=HELLO, timeout_seconds=timeout_seconds)


async def stream_answer(side: Side, model: str | None = None, timeout_seconds: float = 30) -> ChatAnswer:
    open_side = side.client.stream(model=model or side.model, messages=HELLO, timeout_seconds=timeout_seconds)
    async with open_side as stream:
        deltas = [delta async for delta in stream]
    assert "".join(delta.text for delta in deltas) == stream.answer.text
    return stream.answer


async def test_an_answer_can_be_rated_and_nothing_else(side: Side) -> None:
    side.script(Script(WORDS))
    answer = await whole(side)

    async def rated() -> Feedback | None:
        try:
            return await side.client.rate(answer.request_id, "up", operation="research", comment="good\nwork")
        except BadRequest:
            return None  # the real ledger has no record of it yet

    first = await eventually_async("the answer is recorded and rated", rated)
    assert (first.request_id, first.rater, first.rating, first.replaced) == (answer.request_id, "client", 5, False)
    assert (first.provider, first.model, first.operation, first.comment) == (
        "custom",
        side.model,
        "research",
        "good work",
    )
    again = await side.client.rate(answer.request_id, 2)
    assert (again.rating, again.comment, again.replaced) == (2, None, True)
    for request_id, rating in (("req_none", 5), (answer.request_id, 6), ("a b", 1)):
        with pytest.raises(BadRequest):
            await side.client.rate(request_id, rating)


Ask = Callable[..., Awaitable[ChatAnswer]]
both_ways = pytest.mark.parametrize("ask", [whole, stream_answer])


@both_ways
async def test_an_answer(side: Side, ask: Ask) -> None:
    side.script(Script(WORDS))
    answer = await ask(side)
    assert (answer.text, answer.finish_reason, answer.tool_calls) == ("Hello, world", "stop", ())
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (3, 3, 6)
    assert answer.request_id.startswith("req_")
    assert answer.raw["object"] == "chat.completion"
    route = answer.route
    assert (route.provider, route.model, route.key_source) == ("custom", side.model, KeySource.CUSTOM)
    assert (route.attempt_number, route.attempt_id[:4], route.decision_id[:4]) == (1, "att_", "dec_")
    assert route.endpoint


async def test_stream_deltas(side: Side) -> None:
    side.script(Script(WORDS))
    async with side.client.stream(model=side.model, messages=HELLO) as stream:
        deltas = [delta async for delta in stream]
        assert stream.route == stream.answer.route
    assert deltas == [Delta(word) for word in WORDS]


@both_ways
async def test_echo_answer(open_side: Open, ask: Ask) -> None:
    async with open_side(0) as side:
        answer = await ask(side, "echo")
        assert (answer.text, answer.model, answer.finish_reason) == ("hello there", "echo", "stop")
        assert answer.usage is not None
        assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (2, 2)
        assert (answer.route.provider, answer.route.endpoint, answer.route.key_source) == ("echo", None, KeySource.NONE)
        assert side.tries() == 0


async def test_embeddings(side: Side) -> None:
    side.script(Script(vectors=((0.5, -2.0), (1.0, 0.25))))
    answer = await side.client.embed(model=side.model, input=["one", "two"], dimensions=2)
    assert answer.vectors == ((0.5, -2.0), (1.0, 0.25))
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (3, 0, 3)
    assert (answer.model, answer.raw["object"], answer.request_id[:4]) == (side.model, "list", "req_")
    assert (answer.route.provider, answer.route.key_source) == ("custom", KeySource.CUSTOM)


async def test_embeddings_fail_like_chats(side: Side) -> None:
    side.script(Script(status=429, retry_after_seconds=7))
    with pytest.raises(KeyferryError) as raised:
        await side.client.embed(model=side.model, input="one")
    assert (visible(raised.value).kind, visible(raised.value).retry_after_seconds) == ("RateLimited", 7)


async def test_the_echo_has_no_embeddings(side: Side) -> None:
    with pytest.raises(KeyferryError) as raised:
        await side.client.embed(model="echo", input="one")
    error = raised.value
    assert (type(error).__name__, error.failure.param, error.failure.where.value) == ("BadRequest", "model", "not_sent")
    assert error.route is not None


async def test_models(side: Side) -> None:
    available = {model.id: model for model in await side.client.models()}
    assert {"echo", side.model} <= available.keys()
    assert (available["echo"].provider, available["echo"].key_source) == ("echo", KeySource.NONE)
    assert (available[side.model].provider, available[side.model].key_source) == ("custom", KeySource.CUSTOM)


async def test_leaving_a_stream_stops_the_provider(side: Side) -> None:
    side.script(Script(WORDS, hangs=True))
    async with side.client.stream(model=side.model, messages=HELLO) as stream:
        assert (await anext(stream)).text == "Hel"
    await side.given_up()


@both_ways
async def test_cancelling_the_task_stops_the_provider(side: Side, ask: Ask) -> None:
    side.script(Script(WORDS, hangs=True))
    task = asyncio.ensure_future(ask(side))
    await side.asked()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await side.given_up()


@both_ways
async def test_deadline_is_enforced(side: Side, ask: Ask) -> None:
    side.script(Script(hangs=True))
    with pytest.raises(KeyferryError) as raised:
        await ask(side, timeout_seconds=0.5)
    error = visible(raised.value)
    assert (error.kind, error.has_request_id, error.attempt_number) == ("TimedOut", True, 1)
    await side.given_up()


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        (
            Script(status=429, retry_after_seconds=7),
            VisibleError("RateLimited", "http_status", 429, 7.0, True, True, 1),
        ),
        (Script(status=500), VisibleError("ProviderFailed", "http_status", 500, None, True, True, 1)),
    ],
    ids=["429", "500"],
)
@both_ways
async def test_provider_refusal_maps_to_its_error(side: Side, ask: Ask, script: Script, expected: VisibleError) -> None:
    side.script(script)
    with pytest.raises(KeyferryError) as raised:
        await ask(side)
    assert visible(raised.value) == expected
    assert side.tries() == 1


@both_ways
async def test_unknown_model_is_not_found(side: Side, ask: Ask) -> None:
    with pytest.raises(KeyferryError) as raised:
        await ask(side, "unheard-of")
    assert visible(raised.value) == VisibleError("ModelNotFound", "gateway", None, None, True, True, None)
    assert raised.value.failure.failure_class is FailureClass.NOT_FOUND
    assert side.tries() == 0


async def test_truncated_stream_is_an_error(side: Side) -> None:
    side.script(Script(WORDS, breaks_off=True))
    got: list[str] = []
    with pytest.raises(KeyferryError) as raised:
        await _collect(side, got)
    assert got == [*WORDS]
    assert visible(raised.value) == VisibleError("Truncated", "mid_stream", None, None, True, True, 1)


async def _collect(side: Side, got: list[str]) -> None:
    async with side.client.stream(model=side.model, messages=HELLO) as stream:
        async for delta in stream:
            got.append(delta.text)


@both_ways
async def test_retry_after_is_waited_for(open_side: Open, ask: Ask) -> None:
    async with open_side(1) as side:
        side.script(Script(status=429, retry_after_seconds=1))
        side.script(Script(WORDS))
        answer = await ask(side)
        assert (answer.text, side.tries()) == ("Hello, world", 2)


@both_ways
async def test_retry_after_beyond_the_deadline_is_not_waited_for(open_side: Open, ask: Ask) -> None:
    async with open_side(1) as side:
        side.script(Script(status=429, retry_after_seconds=60))
        with pytest.raises(KeyferryError) as raised:
            await ask(side, timeout_seconds=20)
        assert (visible(raised.value).kind, side.tries()) == ("RateLimited", 1)


async def test_request_is_recorded_in_the_ledger(system: KeyferrySystem) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    async with connect_demo(system) as client:
        answer = await client.chat(
            model="echo",
            messages=HELLO,
            operation="research",
            tags={"lead": "42"},
            traceparent=f"00-{trace}-b7ad6b7169203331-01",
        )
    (row,) = await asyncio.to_thread(system.attempts, answer.request_id)
    record = row["record"]
    assert (record["tenant"], record["operation"], record["tags"]) == ("demo", "research", {"lead": "42"})
    assert (record["attempt_id"], row["trace_id"]) == (answer.route.attempt_id, trace)


async def test_cancelled_stream_is_recorded_as_cancelled(system: KeyferrySystem) -> None:
    async with real_side(system, max_retries=0) as side:
        side.script(Script(WORDS, hangs=True))
        async with side.client.stream(model=side.model, messages=HELLO) as stream:
            await anext(stream)
        (row,) = await asyncio.to_thread(system.attempts, stream.request_id)
        assert row["record"]["outcome"] == "cancelled"
