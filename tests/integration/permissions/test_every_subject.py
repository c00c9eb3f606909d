"""The server allows each user exactly what the topology gives its role: every user attempts every subject."""

import functools
import itertools
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from keyferry.contracts.permissions import permissions
from keyferry.contracts.topology import BUCKETS, CONSUMERS, SUBJECTS, Role
from tests.integration.permissions.access import (
    CLIENTS,
    USERS,
    WORKER_SLOTS,
    literal_subjects,
    named,
    refused_publications,
    refused_subscriptions,
    subscriptions,
)
from tests.integration.permissions.expectations import should_publish, should_subscribe
from tests.support.servers.provisioned_bus import ProvisionedBus, provisioned_bus

rights_of = functools.cache(permissions)
"""Cached for the thousands of attempts of each user."""
RESTRICTED = [user for user in USERS if user != Role.PROVISIONER]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bus(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ProvisionedBus]:
    """One bus for all tests: nothing that restricted users may do changes rights."""
    directory = tmp_path_factory.mktemp("bus")
    async with provisioned_bus(directory, worker_slots=WORKER_SLOTS, internal_clients=CLIENTS) as found:
        yield found


def matches(pattern: str, subject: str) -> bool:
    """Return whether a right covers a request, by NATS's rule: `*` is one token, a trailing `>` one or more.

    The request is compared token by token, so a right on `a.*` covers a subscription to `a.>`.
    """
    wanted, given = pattern.split("."), subject.split(".")
    for at, token in enumerate(wanted):
        if token == ">":
            return len(given) > at
        if at >= len(given) or token not in ("*", given[at]):
            return False
    return len(given) == len(wanted)


def granted(user: str, pattern: str, queue: str | None) -> bool:
    """Return whether `permissions(user)` covers this subscription: a right with a queue is for that queue only."""
    for right in rights_of(user).subscribe:
        allowed, _, only_queue = right.partition(" ")
        if matches(allowed, pattern) and only_queue in ("", queue):
            return True
    return False


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("user", RESTRICTED)
async def test_the_server_accepts_exactly_the_publications_of_each_role(bus: ProvisionedBus, user: str) -> None:
    attempted = literal_subjects()
    accepted = set(attempted) - await refused_publications(bus, user, attempted)
    assert accepted == {subject for subject in attempted if should_publish(user, subject)}
    assert accepted == {
        subject for subject in attempted if any(matches(right, subject) for right in rights_of(user).publish)
    }


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("user", RESTRICTED)
async def test_the_server_accepts_exactly_the_subscriptions_of_each_role(bus: ProvisionedBus, user: str) -> None:
    attempted = subscriptions()
    accepted = set(attempted) - await refused_subscriptions(bus, user, attempted)
    assert accepted == {(pattern, queue) for pattern, queue in attempted if should_subscribe(user, pattern, queue)}
    assert accepted == {(pattern, queue) for pattern, queue in attempted if granted(user, pattern, queue)}


async def test_only_the_provisioner_is_unrestricted(tmp_path: Path) -> None:
    """On a separate bus, since it deletes every stream."""
    async with provisioned_bus(tmp_path, worker_slots=WORKER_SLOTS, internal_clients=CLIENTS) as bus:
        assert await refused_subscriptions(bus, Role.PROVISIONER, subscriptions()) == set()
        assert await refused_publications(bus, Role.PROVISIONER, literal_subjects()) == set()


def test_everything_of_the_topology_is_tried() -> None:
    attempted, patterns = set(literal_subjects()), set(subscriptions())
    assert len({subject.lower() for subject in attempted}) == len(attempted), (
        "a refusal comes in lower case and must say whose it is"
    )
    for subject in SUBJECTS:
        assert set(named(subject)) <= attempted
        assert (subject.pattern(), subject.queue) in patterns
    assert {consumer.durable for consumer in CONSUMERS} <= {role.value for role in Role}
    assert {f"$KV.{bucket.name}.acme" for bucket in BUCKETS} <= attempted


def test_no_subject_lies_below_another() -> None:
    """The server lets a user with a right on `a.*` subscribe to `a.>`, which must reach nothing more."""
    for upper, lower in itertools.permutations(SUBJECTS, 2):
        below = ".".join(lower.pattern().split(".")[: upper.pattern().count(".") + 1])
        deeper = lower.pattern().count(".") > upper.pattern().count(".")
        assert not (deeper and matches(upper.pattern(), below)), f"{lower.name} lies below {upper.name}"


def test_every_right_is_tried() -> None:
    """No right of any user goes without a subject that it is needed for."""
    attempted, patterns = literal_subjects(), subscriptions()
    for user in RESTRICTED:
        rights = rights_of(user)
        for right in rights.publish:
            assert any(matches(right, subject) for subject in attempted), (
                f"{user} may publish {right}, which nobody tries"
            )
        for right in rights.subscribe:
            allowed, _, queue = right.partition(" ")
            assert any(matches(allowed, pattern) and (queue or None) == tried_in for pattern, tried_in in patterns)
