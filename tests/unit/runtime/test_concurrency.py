"""A cancelled task ends, even if a library loses a cancellation."""

import asyncio

import pytest

from keyferry.runtime.concurrency import cancel_and_wait


async def test_a_lost_cancellation_is_repeated() -> None:
    lost = 0

    async def stubborn() -> None:
        nonlocal lost
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if lost == 1:
                    raise
                lost += 1

    task = asyncio.create_task(stubborn())
    await asyncio.sleep(0)
    await cancel_and_wait(task)
    assert task.cancelled()
    assert lost == 1


@pytest.mark.parametrize("error", [None, RuntimeError("failed")])
async def test_an_ended_task_is_left_alone(error: Exception | None) -> None:
    async def over() -> None:
        if error is not None:
            raise error

    task = asyncio.create_task(over())
    await asyncio.wait({task})
    await cancel_and_wait(task)
    assert task.exception() is error
