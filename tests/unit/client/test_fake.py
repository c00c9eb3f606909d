"""The client's own behaviour, on the fake: retries, cancellation, traces, recorded requests."""

import asyncio

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from keyferry.client import Cancelled, KeyferryError, LimitReached, ToolCall, Truncated, Unavailable, Unreachable
from keyferry.client.testing import FakeKeyferry, ReplyDelta, failure
from keyferry.contracts.failure import FailureClass, Where

HELLO = [{"role": "user", "content": "hello there"}]
BUSY = failure(FailureClass.LIMIT, where=Where.GATEWAY, retry_after_seconds=3)
BROKEN = failure(FailureClass.TRUNCATED, where=Where.MID_STREAM)


async def test_unscripted_request_is_echoed_and_recorded() -> None:
    async with FakeKeyferry(tenant="acme") as fake:
        answer = await fake.chat(
            model="echo", messages=HELLO, operation="greeting", tags={"a": "b"}, temperature=0.5, timeout_seconds=9
        )
    assert (answer.text, answer.route.provider) == ("hello there", "echo")
    (recorded,) = fake.requests
    assert (recorded.head.tenant, recorded.operation, recorded.head.tags) == ("acme", "greeting", {"a": "b"})
    assert (recorded.body["temperature"], recorded.body["messages"]) == (0.5, HELLO)
    assert 8000 < recorded.head.deadline_ms <= 9000
    assert not recorded.cancelled


async def test_rate_limited_request_is_retried() -> None:
    fake = FakeKeyferry()
    fake.reply(BUSY)
    fake.reply("now")
    answer = await fake.chat(model="echo", messages=HELLO)
    assert answer.text == "now"
    assert 3 <= fake.waited_seconds[0] <= 3.75
    first, second = fake.requests
    assert first.head.request_id != second.head.request_id == answer.request_id
    assert second.head.deadline_ms <= first.head.deadline_ms


async def test_retries_end() -> None:
    fake = FakeKeyferry(max_retries=1)
    for _ in range(2):
        fake.reply(BUSY)
    with pytest.raises(LimitReached) as raised:
        await fake.chat(model="echo", messages=HELLO)
    assert (len(fake.requests), raised.value.retry_after_seconds) == (2, 3.0)
    assert raised.value.request_id == fake.requests[1].head.request_id


async def test_no_retry_beyond_the_deadline() -> None:
    fake = FakeKeyferry()
    fake.reply(BUSY)
    with pytest.raises(LimitReached):
        await fake.chat(model="echo", messages=HELLO, timeout_seconds=2)
    assert fake.waited_seconds == []


async def test_stream_is_retried_only_before_its_first_delta() -> None:
    fake = FakeKeyferry()
    unavailable = failure(FailureClass.UNREACHABLE, where=Where.NOT_SENT)
    fake.reply(unavailable)
    fake.reply("one", unavailable)
    async with fake.stream(model="echo", messages=HELLO) as stream:
        assert (await anext(stream)).text == "one"
        with pytest.raises(Unreachable):
            await anext(stream)
    assert len(fake.requests) == 2


async def test_error_is_final() -> None:
    fake = FakeKeyferry()
    fake.reply("one", BROKEN)
    async with fake.stream(model="echo", messages=HELLO) as stream:
        assert (await anext(stream)).text == "one"
        for _ in range(2):
            with pytest.raises(Truncated):
                await anext(stream)
        with pytest.raises(RuntimeError, match="not ended"):
            _ = stream.answer
    assert len(fake.requests) == 1


async def test_tool_call_and_reasoning_arrive_in_pieces() -> None:
    fake = FakeKeyferry()
    for _ in range(2):
        call = (ReplyDelta(tool_call_id="c1", tool_name="look", tool_arguments="{"), ReplyDelta(tool_arguments="}"))
        fake.reply(ReplyDelta(reasoning="hm"), *call, prompt_tokens=3, completion_tokens=2)
    parse_object = await fake.chat(model="echo", messages=HELLO)
    async with fake.stream(model="echo", messages=HELLO) as stream:
        deltas = [delta async for delta in stream]
    pieces = [piece for delta in deltas for piece in delta.tool_calls]
    assert "".join(piece.arguments for piece in pieces) == "{}"
    assert [piece.name for piece in pieces] == ["look", None]
    for answer in (parse_object, stream.answer):
        assert answer.tool_calls == (ToolCall("c1", "look", "{}"),)
        assert (answer.reasoning, answer.finish_reason, answer.text) == ("hm", "tool_calls", "")
        assert answer.usage is not None
        assert answer.usage.total_tokens == 5


async def test_stream_is_read_inside_its_block() -> None:
    fake = FakeKeyferry()
    async with fake.stream(model="echo", messages=HELLO) as stream:
        await anext(stream)
    with pytest.raises(RuntimeError, match="inside"):
        await anext(stream)
    assert fake.requests[0].cancelled


async def test_cancelling_the_task_cancels_the_request() -> None:
    fake = FakeKeyferry()
    fake.reply(asyncio.Event())
    task = asyncio.create_task(fake.chat(model="echo", messages=HELLO))
    await fake.wait_for_requests()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert fake.requests[0].cancelled


async def test_closing_the_client_wakes_waiting_tasks() -> None:
    async with FakeKeyferry() as fake:
        fake.reply(asyncio.Event())
        task = asyncio.create_task(fake.chat(model="echo", messages=HELLO))
        await fake.wait_for_requests()
    with pytest.raises(Cancelled):
        await task
    assert fake.requests[0].cancelled


async def test_gateway_failure_means_no_worker_accepted_it() -> None:
    fake = FakeKeyferry(max_retries=0)
    fake.reply(failure(FailureClass.UNAVAILABLE, where=Where.GATEWAY))
    fake.reply(failure(FailureClass.SERVER, status=500))
    with pytest.raises(Unavailable) as refused:
        await fake.chat(model="echo", messages=HELLO)
    assert (refused.value.route, refused.value.decision_id is None) == (None, False)
    with pytest.raises(KeyferryError) as failed:
        await fake.chat(model="echo", messages=HELLO)
    assert failed.value.route is not None
    assert failed.value.decision_id == failed.value.route.decision_id


async def test_current_trace_is_used_by_default() -> None:
    fake = FakeKeyferry()
    span = TracerProvider().get_tracer("test").start_span("caller")
    with trace.use_span(span):
        await fake.chat(model="echo", messages=HELLO)
        await fake.chat(model="echo", messages=HELLO, traceparent="00-" + "a" * 32 + "-" + "b" * 16 + "-01")
    await fake.chat(model="echo", messages=HELLO)
    context = span.get_span_context()
    traces = [recorded.head.traceparent for recorded in fake.requests]
    assert traces[0] == f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"
    assert traces[1] == "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
    assert traces[2] is None


async def test_fake_lists_its_models() -> None:
    assert [model.id for model in await FakeKeyferry(models=["gpt"]).models()] == ["echo", "gpt"]


async def test_fake_keeps_the_last_rating_of_each_rater() -> None:
    fake = FakeKeyferry()
    answer = await fake.chat(model="echo", messages=HELLO)
    await fake.rate(answer.request_id, "down")
    await fake.rate(answer.request_id, 4)
    await fake.rate(answer.request_id, 3, rater="ann")
    assert [(each.rater, each.rating) for each in fake.ratings] == [("client", 4), ("ann", 3)]
