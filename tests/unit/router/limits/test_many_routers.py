"""Three routers, in any order: never more at the same time than the limit, never more tokens in a minute, and nothing is left."""

import asyncio
import random
from collections import Counter

import pytest

from keyferry.contracts.limit_counters import WINDOW_MS, renew, settle
from keyferry.contracts.limits import Admission, LimitKind
from tests.support.router.limits import MemoryCounters, SetClock, limiter
from tests.unit.router.limits.test_limiter import acme, request, until_idle

STEPS = 300


class SlowCounters(MemoryCounters):
    """Counters whose messages overtake each other."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__()
        self._chance = chance

    async def add(self, subject: str, amount: int) -> int:
        for _ in range(self._chance.randrange(3)):
            await asyncio.sleep(0)
        value = await super().add(subject, amount)
        for _ in range(self._chance.randrange(3)):
            await asyncio.sleep(0)
        return value


class Scene:
    """Requests of one tenant at three routers, and what runs."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self.places, self.tokens = self._chance.choice([1, 2, 5, 20]), self._chance.choice([600, 5000, 100_000])
        self._tenant = acme(concurrency=self.places, tpm=self.tokens)
        self.counters, self._clock = SlowCounters(self._chance), SetClock()
        self._routers = [limiter(self.counters.add, self._clock) for _ in range(3)]
        self.running: list[Admission] = []
        self.most = 0
        self.used: Counter[int] = Counter()
        """Tokens by minute: estimates of what runs, and what was really used."""

    async def run(self) -> None:
        """Let requests come and end, and the clock go on, in a random order; then end all."""
        work = []
        for _ in range(STEPS):
            await asyncio.sleep(0)
            match self._chance.randrange(10):
                case 0:
                    await self._go_on()
                case 1 | 2 | 3:
                    work.append(asyncio.ensure_future(self._end()))
                case _:
                    work.append(asyncio.ensure_future(self._ask()))
        await asyncio.gather(*work)
        while self.running:
            await self._end()
        for router in self._routers:
            await router.stop()
        for _ in range(20):
            await until_idle()

    async def _ask(self) -> None:
        router = self._chance.choice(self._routers)
        asked = request(features={"input_tokens": 1, "max_output_tokens": self._chance.choice([1, 99, 499])})
        admitted = router.try_admit(asked, 0, self._tenant) or await router.admit(asked, 0, self._tenant)
        if admitted.admission is None:
            return
        self.running.append(admitted.admission)
        self.most = max(self.most, len(self.running))
        estimate, window = _tokens_of(admitted.admission)
        self.used[window] += estimate

    async def _end(self) -> None:
        if not self.running:
            return
        ended = self.running.pop(self._chance.randrange(len(self.running)))
        estimate, window = _tokens_of(ended)
        used = self._chance.randrange(estimate + 1)
        if window == self._clock.now_ms // WINDOW_MS:
            self.used[window] -= estimate - used
        for subject, amount in settle(ended, "acme", used, self._clock.now_ms):
            await self.counters.add(subject, amount)

    async def _go_on(self) -> None:
        """Let some seconds pass, in which the worker renews what runs."""
        for _ in range(3):
            await until_idle()
        self._clock.now_ms += self._chance.randrange(12_000)
        for index, held in enumerate(self.running):
            self.running[index], increments = renew(held, "acme", self._clock.now_ms)
            self.counters.values.update(dict(increments))


def _tokens_of(admission: Admission) -> tuple[int, int]:
    return next((held.amount, held.window) for held in admission.held if held.kind is LimitKind.TPM)


@pytest.mark.parametrize("seed", range(12))
async def test_no_limit_is_exceeded_and_no_place_is_lost(seed: int) -> None:
    scene = Scene(seed)
    await scene.run()
    assert 1 <= scene.most <= scene.places
    assert max(scene.used.values()) <= scene.tokens
    left = {subject: value for subject, value in scene.counters.values.items() if value and ".concurrency." in subject}
    assert left == {}
