"""The count of connections: what is one client, and that nothing is left of those that ended."""

import pytest

from keyferry.runtime.http.limits import ConnectionCount, ConnectionLimits


@pytest.mark.parametrize(
    ("first", "second", "same_client"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        ("", "", True),
    ],
)
def test_an_ipv4_address_or_an_ipv6_network_is_one_client(first: str, second: str, same_client: bool) -> None:
    count = ConnectionCount(ConnectionLimits(connections_per_address=1))
    assert count.admit(first) is None
    assert (count.admit(second) is not None) is same_client


def test_a_limit_counts_what_is_open_now() -> None:
    count = ConnectionCount(ConnectionLimits(connections=2, connections_per_address=1))
    for _ in range(100):
        assert count.admit("192.0.2.1") is None
        refused = count.admit("192.0.2.1")
        assert refused is not None
        assert (refused.status, refused.code, refused.headers) == (503, "too_many_connections", {"retry-after": "1"})
        assert count.admit("192.0.2.2") is None
        refused = count.admit("192.0.2.3")
        assert refused is not None
        assert "this gateway has" in refused.message
        count.release("192.0.2.1")
        count.release("192.0.2.2")
    assert count.open == 0


def test_addresses_that_have_left_take_no_memory() -> None:
    count = ConnectionCount(ConnectionLimits())
    for number in range(1000):
        address = f"192.0.{number // 250}.{number % 250}"
        assert count.admit(address) is None
        count.release(address)
    assert len(count._by_network) == 0


def test_0_is_no_limit_for_one_address() -> None:
    count = ConnectionCount(ConnectionLimits(connections=50, connections_per_address=0))
    assert [count.admit("127.0.0.1") for _ in range(50)] == [None] * 50
    assert count.admit("127.0.0.1") is not None


def test_connections_are_checked_more_often_than_the_shortest_limit() -> None:
    assert ConnectionLimits().check_interval_seconds == 1.0
    assert ConnectionLimits(head_timeout_seconds=0.2).check_interval_seconds == 0.05
