"""Time, processes and the network of a simulation: everything that happens follows from the seed."""

import heapq
import itertools
import random
from collections.abc import Callable

from keyferry.contracts.credit import SKEW_MS

START_MS = 1_800_000_000_000
Action = Callable[[], None]


class World:
    """Events in the order of their times. Links between processes can be cut; messages over a cut link are lost."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.now_ms = START_MS
        self._events: list[tuple[int, int, Action]] = []
        self._order = itertools.count()
        self._numbers = itertools.count(1)
        self._cuts: dict[frozenset[str], int] = {}
        self.healed = False

    def next_number(self) -> int:
        return next(self._numbers)

    def at(self, time_ms: int, action: Action) -> None:
        heapq.heappush(self._events, (time_ms, next(self._order), action))

    def after(self, delay_ms: int, action: Action) -> None:
        self.at(self.now_ms + delay_ms, action)

    def run_until(self, time_ms: int) -> None:
        while self._events and self._events[0][0] <= time_ms:
            self.now_ms, _, action = heapq.heappop(self._events)
            action()
        self.now_ms = time_ms

    def happens(self, probability: float) -> bool:
        """Return whether a fault happens now; none does once everything is healed."""
        return not self.healed and self.chance.random() < probability

    def delay_ms(self) -> int:
        """Return how long a message takes: a moment, and now and then seconds, so that messages overtake each other."""
        return self.chance.randrange(500, 20_000) if self.happens(0.02) else self.chance.randrange(1, 20)

    def cut(self, one: str, other: str, for_ms: int) -> None:
        self._cuts[frozenset((one, other))] = self.now_ms + for_ms

    def is_cut(self, one: str, other: str) -> bool:
        return not self.healed and self._cuts.get(frozenset((one, other)), 0) > self.now_ms

    def send(self, sender: str, receiver: "SimulatedProcess", action: Action) -> None:
        """Deliver a message that may be lost: core NATS delivers at most once."""
        if self.is_cut(sender, receiver.name) or self.happens(0.01):
            return
        self.after(self.delay_ms(), receiver.guard(action))


class SimulatedProcess:
    """A process with its own clock. It can be paused, as by SIGSTOP, and killed."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.offset_ms = world.chance.randrange(-SKEW_MS // 2, SKEW_MS // 2 + 1)
        self.up = True
        self._life = 0
        self._paused_until = 0

    def start(self) -> None:
        """Begin a life."""
        raise NotImplementedError

    def start_after(self, delay_ms: int) -> None:
        """Begin a life after a while, unless the end of the faults has begun it by then: no process is started twice."""
        self.world.after(delay_ms, lambda: None if self.up else self.start())

    @property
    def clock_ms(self) -> int:
        return self.world.now_ms + self.offset_ms

    def guard(self, action: Action) -> Action:
        """Return the action as this life of the process does it: later if it is paused, and never once it is killed."""
        life = self._life

        def guarded() -> None:
            if life != self._life or not self.up:
                return
            if self._paused_until > self.world.now_ms and not self.world.healed:
                self.world.at(self._paused_until, guarded)
                return
            action()

        return guarded

    def later(self, delay_ms: int, action: Action) -> None:
        self.world.after(delay_ms, self.guard(action))

    def every(self, interval_ms: int, action: Action) -> None:
        def again() -> None:
            action()
            self.later(interval_ms, again)

        self.later(self.world.chance.randrange(interval_ms), again)

    def pause(self, for_ms: int) -> None:
        self._paused_until = self.world.now_ms + for_ms

    def kill(self) -> None:
        """Lose everything that is only in memory."""
        self.up = False
        self._life += 1
        self._paused_until = 0
