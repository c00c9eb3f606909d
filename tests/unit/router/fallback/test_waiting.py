"""How many requests may wait for one target."""

import pytest

from services.router.fallback import waiting
from services.router.fallback.waiting import MAX_WAITING, WaitingRequests


def test_only_so_many_wait_for_a_target_until_they_have_waited() -> None:
    requests = WaitingRequests()
    for _ in range(MAX_WAITING):
        assert requests.may_wait("a", 0.0)
        requests.add("a", 2000, 0.0)
    assert not requests.may_wait("a", 1.9)
    assert requests.may_wait("b", 1.9)
    assert requests.may_wait("a", 2.0)


def test_targets_that_nobody_waits_for_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "_MAX_TARGETS", 2)
    requests = WaitingRequests()
    requests.add("a", 1000, 0.0)
    requests.add("b", 3000, 0.0)
    assert not requests.may_wait("c", 0.5)
    assert requests.may_wait("c", 1.5)
