"""Blocks of a counter: whatever the order, never more than the limit is spent; with enough demand exactly the limit."""

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from services.router.limits.block import Block


@dataclass
class Counter:
    """The counter on the bus: it adds, and returns the new value."""

    value: int = 0

    def add(self, amount: int) -> int:
        self.value += amount
        return self.value


@dataclass
class Router:
    """A router whose messages to the counter are delivered when the test says so."""

    block: Block
    counter: Counter
    spent: int = 0
    refused: int = 0
    to_give_back: list[int] = field(default_factory=list)
    answer: tuple[int, int] | None = None
    """What was added, and the counter's value before; not received yet."""

    def request(self, amount: int) -> None:
        """Serve one request as far as it goes without waiting."""
        if self.block.spend(amount):
            self.spent += amount
        elif self.answer is None:
            taken = self.block.amount_to_take(amount, amount)
            self.answer = taken, self.counter.add(taken) - taken

    def receive(self, amount: int) -> None:
        """Receive the counter's answer, and serve the request that waited for it."""
        if self.answer is not None:
            if back := self.block.take(*self.answer):
                self.to_give_back.append(back)
            self.answer = None
            if self.block.spend(amount):
                self.spent += amount
            else:
                self.refused += 1

    def flush(self) -> None:
        while self.to_give_back:
            self.counter.add(-self.to_give_back.pop())

    def idle(self) -> None:
        self.to_give_back.append(self.block.give_back())


STEPS = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from(["request", "receive", "flush", "idle"]), st.integers(1, 40)),
    max_size=200,
)


@given(limit=st.integers(1, 500), steps=STEPS)
def test_whatever_happens_in_whatever_order_no_more_than_the_limit_is_spent(
    limit: int, steps: list[tuple[int, str, int]]
) -> None:
    counter = Counter()
    routers = [Router(Block(limit), counter) for _ in range(4)]
    for index, step, amount in steps:
        router = routers[index]
        if step in ("request", "receive"):
            getattr(router, step)(amount)
        else:
            getattr(router, step)()
        assert sum(router.spent for router in routers) <= limit
        unspent = sum(router.block.available for router in routers)
        assert sum(router.spent for router in routers) + unspent <= limit


@given(limit=st.integers(1, 300), order=st.lists(st.integers(0, 2), min_size=0, max_size=600), count=st.integers(1, 3))
def test_with_enough_demand_at_each_router_exactly_the_limit_is_spent(limit: int, order: list[int], count: int) -> None:
    counter = Counter()
    routers = [Router(Block(limit), counter) for _ in range(count)]
    demand = [*(index % count for index in order), *(index for _ in range(limit + 1) for index in range(count))]
    for index in demand:
        for act in (routers[index].request, routers[index].receive):
            act(1)
        routers[index].flush()
    assert sum(router.spent for router in routers) == limit
    assert counter.value == limit


def test_near_the_limit_a_block_is_one_and_far_from_it_a_share() -> None:
    block = Block(1600)
    assert block.amount_to_take(1, 1) == 100
    block.take(100, 0)
    assert block.available == 100
    block.read(1590)
    block.available = 0
    assert block.amount_to_take(1, 1) == 1
    assert block.amount_to_take(1, 7) == 7
    assert block.amount_to_take(1, 500) == 10


def test_what_was_added_beyond_the_limit_is_given_back() -> None:
    block = Block(10)
    assert block.take(8, 6) == 4
    assert (block.available, block.left, block.remaining) == (4, 0, 4)
    assert block.give_back() == 4
    assert block.remaining == 4


def test_a_counter_beyond_the_limit_grants_nothing() -> None:
    block = Block(10)
    assert block.take(3, 25) == 3
    assert (block.available, block.left) == (0, 0)
