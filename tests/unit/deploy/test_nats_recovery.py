"""When the embedded NATS is restarted, by a scripted server; tests/integration/embedded has a real one."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from deploy.embedded import nats_recovery
from deploy.embedded.errors import LaunchFailed
from deploy.embedded.nats_recovery import NatsRecovery
from keyferry.cli.problem import Problem
from keyferry.contracts.server_health import ServerHealth
from keyferry.runtime.concurrency import cancel_and_wait

FAILED = [ServerHealth("keyferry", "JetStream stream 'KEYFERRY > ATTEMPTS' write error: no space left on device")]
WELL = [ServerHealth("keyferry", "")]
Answer = Sequence[ServerHealth] | Problem


class Server:
    """A server that answers with one health after the other, and with the last one from then on."""

    def __init__(self, store: Path, *answers: Answer) -> None:
        self.restarts = 0
        self.asked = 0
        self.log_lines: list[str] = []
        self.launch_fails = False
        self._answers = list(answers)
        self._recovery = NatsRecovery(
            store=store,
            fetch_health=self._fetch,
            restart=self._restart,
            log=self.log_lines.append,
            min_free_bytes=1,
            interval_seconds=0.0,
        )

    async def watch(self, questions: int = 20) -> None:
        """Watch until so many questions were answered."""
        watching = asyncio.create_task(self._recovery.run())
        async with asyncio.timeout(30):
            while self.asked < questions:
                await asyncio.sleep(0)
                assert not watching.done(), "the watching has ended"
        await cancel_and_wait(watching)

    async def _fetch(self) -> list[ServerHealth]:
        answer = self._answers[min(self.asked, len(self._answers) - 1)]
        self.asked += 1
        if isinstance(answer, Problem):
            raise answer
        return list(answer)

    async def _restart(self) -> None:
        self.restarts += 1
        if self.launch_fails:
            raise LaunchFailed("nats-server does not start\nsee its log")


async def test_a_server_that_is_well_only_right_after_each_restart_is_not_restarted_again_and_again(
    tmp_path: Path,
) -> None:
    server = Server(tmp_path, FAILED, WELL, FAILED, WELL, WELL, FAILED)
    await server.watch()
    assert server.restarts == 1


async def test_once_it_has_been_well_for_long_it_is_restarted_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0

    def monotonic() -> float:
        nonlocal now
        now += 20.0  # for every look at the clock
        return now

    monkeypatch.setattr(nats_recovery, "time", SimpleNamespace(monotonic=monotonic))
    server = Server(tmp_path, FAILED, WELL, WELL, WELL, FAILED)
    async with asyncio.timeout(30):
        watching = asyncio.create_task(server._recovery.run())
        while server.restarts < 2:  # noqa: ASYNC110 - a number has no event
            await asyncio.sleep(0)
    await cancel_and_wait(watching)
    assert server.asked <= 7


async def test_a_server_that_does_not_start_is_logged_and_watched_on(tmp_path: Path) -> None:
    server = Server(tmp_path, FAILED)
    server.launch_fails = True
    await server.watch()
    assert server.restarts == 1
    assert server.log_lines[-1] == "nats-server does not start"


async def test_no_answer_is_no_failure_and_the_watching_goes_on(tmp_path: Path) -> None:
    silent = Problem("NATS does not answer", "start it")
    server = Server(tmp_path, silent, silent, FAILED)
    await server.watch()
    assert server.restarts == 1
