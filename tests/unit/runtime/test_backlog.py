"""When a process refuses requests because too many wait for too long."""

from hypothesis import given
from hypothesis import strategies as st

from keyferry.runtime.request.backlog import Backlog


def backlog(**waiting: int) -> Backlog:
    """Return requests that were sent at 100 s, so many for each tenant."""
    found = Backlog()
    for tenant, count in waiting.items():
        for number in range(count):
            found.add(f"{tenant}-{number}", tenant, 100.0)
    return found


def test_many_that_wait_for_long_are_a_reason_to_refuse() -> None:
    assert backlog(acme=256).refuses("acme", 100.9)
    assert not backlog(acme=256).refuses("acme", 100.7), "a burst is passed on"
    assert not backlog(acme=255).refuses("acme", 200), "what one dead worker had is sent again"
    assert not Backlog().refuses("acme", 200)


def test_what_was_answered_counts_no_more() -> None:
    found = backlog(acme=256)
    found.remove("acme-0")
    found.remove("acme-0")
    found.remove("unknown")
    assert len(found) == 255
    assert not found.refuses("acme", 200)


def test_the_oldest_counts() -> None:
    found = backlog(acme=1)
    for number in range(300):
        found.add(f"later-{number}", "acme", 102.0)
    assert found.refuses("acme", 102.1)
    found.remove("acme-0")
    assert not found.refuses("acme", 102.1)


def test_a_tenant_with_less_than_its_part_is_not_refused() -> None:
    found = backlog(flood=300, calm=3)
    assert found.refuses("flood", 101)
    assert not found.refuses("calm", 101)
    assert not found.refuses("new", 101)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 40), st.booleans()), max_size=200))
def test_counts_hold_for_every_order(steps: list[tuple[str, int, bool]]) -> None:
    found, expected = Backlog(), set()
    for tenant, number, sent in steps:
        token = f"{tenant}{number}"
        if sent and token not in expected:
            expected.add(token)
            found.add(token, tenant, float(len(expected)))
        elif not sent:
            expected.discard(token)
            found.remove(token)
    assert len(found) == len(expected)
    for token in expected:
        found.remove(token)
    assert len(found) == 0
    assert not found._by_tenant
