"""Replies may go to the inboxes of a subject's publishers, and to no other."""

import pytest

from keyferry.contracts.topology import (
    KEY_ADD,
    KEY_LEASE,
    SUBJECTS,
    WORKER_REGISTER,
    AnySubject,
    Role,
    inbox_prefix,
    reply_prefixes,
    users,
)
from keyferry.contracts.users import role_of

_USERS = users(worker_slots=12, internal_clients=["internal-client.acme.app"])


@pytest.mark.parametrize("subject", [s for s in SUBJECTS if s.reply is not None], ids=lambda s: s.name)
def test_replies_are_allowed_to_every_publisher_and_no_other_user(subject: AnySubject) -> None:
    allowed = {user for user in _USERS if f"{inbox_prefix(user)}.x1".startswith(reply_prefixes(subject))}
    assert allowed == {user for user in _USERS if role_of(user) in subject.publishers}


def test_replies_are_allowed_to_workers_of_every_slot() -> None:
    for subject in (KEY_LEASE, WORKER_REGISTER):
        assert f"{inbox_prefix('provider-worker-12')}.x1".startswith(reply_prefixes(subject))
    assert not f"{inbox_prefix('provider-worker-1')}.x1".startswith(reply_prefixes(KEY_ADD))
    assert Role.OPERATOR in KEY_ADD.publishers
