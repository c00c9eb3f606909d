"""A NATS user has exactly the rights that the topology gives its role."""

import itertools

import pytest

from keyferry.contracts import topology
from keyferry.contracts.lease import WorkerRegistration
from keyferry.contracts.permissions import Permissions, permissions
from keyferry.contracts.route import ListModels
from keyferry.contracts.tenancy import ListTenants
from keyferry.contracts.topology import (
    BUCKETS,
    CONSUMERS,
    FRAME_INBOXES,
    SERVICES,
    STREAMS,
    SUBJECTS,
    AnySubject,
    Role,
    SubjectKind,
)
from keyferry.contracts.users import CALLER_INBOX

SLOTS = 2
CLIENTS = [topology.internal_client(tenant, name) for tenant, name in (("acme", "crm"), ("acme", "mail"), ("a-b", "c"))]
USERS = [user for user in topology.users(SLOTS, CLIENTS) if topology.role_of(user) is not Role.PROVISIONER]
OWN = {"worker": Role.PROVIDER_WORKER, "router": Role.ROUTER, "service": None}
"""Placeholders that hold a user's name, and the role of those users; None means any service."""


def own(user: str) -> dict[str, str]:
    """Return the placeholders that stand for this user."""
    return {name: user for name, role in OWN.items() if role in (None, topology.role_of(user))}


def names_its_publisher(subject: AnySubject) -> bool:
    return any(
        f"{{{name}}}" in subject.template and (role is None or role in subject.publishers) for name, role in OWN.items()
    )


def matches(pattern: str, subject: str) -> bool:
    """Apply NATS's rule: `*` is one token, a trailing `>` one or more."""
    wanted, given = pattern.split("."), subject.split(".")
    for at, token in enumerate(wanted):
        if token == ">":
            return len(given) > at
        if at >= len(given) or token not in ("*", given[at]):
            return False
    return len(given) == len(wanted)


def may_publish(user: str, subject: str) -> bool:
    return any(matches(pattern, subject) for pattern in permissions(user).publish)


def may_subscribe(user: str, pattern: str, queue: str | None = None) -> bool:
    wanted = f"{pattern} {queue}" if queue else pattern
    return wanted in permissions(user).subscribe


def subject_from(subject: AnySubject, publisher: str) -> str:
    """Return `subject` as `publisher` would send it, with a value in every other placeholder."""
    values = dict.fromkeys(
        ("provider", "instance", "worker", "router", "service", "kind", "scope", "window", "trace"), "something"
    )
    values["tenant"] = topology.tenant_of(publisher) or "something"
    return subject.format(**(values | dict.fromkeys(OWN, publisher)))


@pytest.mark.parametrize("user", USERS)
def test_only_publishers_may_publish(user: str) -> None:
    publishes = {subject.name for subject in SUBJECTS if topology.role_of(user) in subject.publishers}
    assert {subject.name for subject in SUBJECTS if may_publish(user, subject_from(subject, user))} == publishes


@pytest.mark.parametrize("user", USERS)
def test_no_user_publishes_under_the_name_of_another(user: str) -> None:
    named = [subject for subject in SUBJECTS if names_its_publisher(subject)]
    for subject, other in itertools.product(named, USERS):
        if other != user:
            assert not may_publish(user, subject_from(subject, other)), f"{subject.name} of {other}"


@pytest.mark.parametrize("user", CLIENTS)
def test_an_internal_client_publishes_only_for_its_own_tenant(user: str) -> None:
    values = dict.fromkeys(
        ("provider", "instance", "worker", "router", "service", "kind", "scope", "window", "trace"), "something"
    )
    for subject in SUBJECTS:
        if "{tenant}" in subject.template:
            assert not may_publish(user, subject.format(**values, tenant="another")), subject.name
        elif Role.INTERNAL_CLIENT in subject.publishers:
            assert subject is topology.WORKER_PROBE, "a subject without a tenant needs a reason why it reveals nothing"


@pytest.mark.parametrize("user", USERS)
def test_only_subscribers_may_subscribe_and_only_in_their_queue(user: str) -> None:
    subscribed = [entry.split(" ")[0] for entry in permissions(user).subscribe]
    for subject in SUBJECTS:
        subscribes = topology.role_of(user) in subject.subscribers and subject.kind is not SubjectKind.STREAM
        pattern = subject.pattern(**own(user))
        assert may_subscribe(user, pattern, subject.queue) == subscribes, subject.name
        if subject.queue:
            assert not may_subscribe(user, pattern), f"{subject.name}: it would receive messages of other replicas"
        assert any(matches(entry, subject_from(subject, user)) for entry in subscribed) == subscribes, subject.name


@pytest.mark.parametrize("user", USERS)
def test_no_user_may_subscribe_to_the_inbox_of_another(user: str) -> None:
    subscribed = [entry.split(" ")[0] for entry in permissions(user).subscribe]
    for other in USERS:
        inbox = f"{topology.inbox_prefix(other)}.x.y"
        assert other == user or not any(matches(pattern, inbox) for pattern in subscribed), other


@pytest.mark.parametrize("user", USERS)
def test_only_frame_publishers_publish_to_inboxes_and_only_to_callers(user: str) -> None:
    for other in USERS:
        inbox = f"{topology.inbox_prefix(other)}.x.y"
        allowed = topology.role_of(user) in topology.FRAME_PUBLISHERS and inbox.startswith(FRAME_INBOXES)
        assert may_publish(user, inbox) == allowed, other


@pytest.mark.parametrize("user", USERS)
def test_a_bucket_is_written_by_its_owner_and_read_by_its_readers(user: str) -> None:
    role = topology.role_of(user)
    for bucket in BUCKETS:
        assert may_publish(user, bucket.key_subject("acme.key")) == (role is bucket.owner), bucket.name
        for verb in ("DIRECT.GET", "STREAM.INFO"):
            assert may_publish(user, f"$JS.API.{verb}.{bucket.stream}") == (role in (bucket.owner, *bucket.readers))
        assert may_subscribe(user, f"{bucket.view_prefix}>") == (role in bucket.readers), bucket.name
        assert not may_publish(user, f"{bucket.view_prefix}acme"), "a forged update would reach every reader"


@pytest.mark.parametrize("user", USERS)
def test_only_its_subscriber_pulls_and_acknowledges_a_consumer(user: str) -> None:
    for consumer in CONSUMERS:
        own = topology.role_of(user) is consumer.subscriber
        name = f"{consumer.stream}.{consumer.durable}"
        for subject in (
            f"$JS.API.CONSUMER.MSG.NEXT.{name}",
            f"$JS.API.CONSUMER.INFO.{name}",
            f"$JS.ACK.{name}.1.2.3.4.5",
        ):
            assert may_publish(user, subject) == own, subject


DEAD_LETTER_RIGHTS = ("STREAM.INFO.{0}", "STREAM.MSG.GET.{0}", "STREAM.MSG.DELETE.{0}", "STREAM.PURGE.{0}")
"""What the ledger may do with the dead letters, which it alone writes."""


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize(
    "verb",
    [
        "CONSUMER.CREATE.{0}",
        "CONSUMER.CREATE.{0}.c",
        "CONSUMER.CREATE.{0}.c.f",
        "CONSUMER.DURABLE.CREATE.{0}.c",
        "CONSUMER.DELETE.{0}.usage-ledger",
        "STREAM.CREATE.{0}",
        "STREAM.UPDATE.{0}",
        "STREAM.DELETE.{0}",
        "STREAM.PURGE.{0}",
        "STREAM.MSG.DELETE.{0}",
        "STREAM.MSG.GET.{0}",
        "STREAM.SNAPSHOT.{0}",
    ],
)
def test_only_the_provisioner_manages_streams(user: str, verb: str) -> None:
    for stream in (*(stream.name for stream in STREAMS), *(bucket.stream for bucket in BUCKETS)):
        own_dead_letters = (user, stream) == ("usage-ledger", "DEAD_LETTERS") and verb in DEAD_LETTER_RIGHTS
        assert may_publish(user, f"$JS.API.{verb.format(stream)}") is own_dead_letters


@pytest.mark.parametrize("user", USERS)
def test_nothing_else_is_allowed(user: str) -> None:
    """Each right follows from the topology: none is left when those are removed."""
    role = topology.role_of(user)
    ours = own(user)
    if tenant := topology.tenant_of(user):
        ours["tenant"] = tenant
        assert not any(
            "tenant" in subject.template and subject.pattern() in permissions(user).publish for subject in SUBJECTS
        )
    published = {subject.pattern(**ours) for subject in SUBJECTS} | {subject.pattern() for subject in SUBJECTS}
    frames = {f"{prefix}>" for prefix in FRAME_INBOXES}
    jetstream = {
        f"{start}{consumer.stream}.{consumer.durable}{end}"
        for consumer in CONSUMERS
        for start, end in (("$JS.API.CONSUMER.MSG.NEXT.", ""), ("$JS.API.CONSUMER.INFO.", ""), ("$JS.ACK.", ".>"))
    }
    buckets = {f"$KV.{bucket.name}.>" for bucket in BUCKETS} | {
        f"$JS.API.{verb}.KV_{bucket.name}" for verb in ("DIRECT.GET", "STREAM.INFO") for bucket in BUCKETS
    }
    rights = permissions(user)
    health = {topology.SERVER_HEALTH} if role is topology.Role.OPERATOR else set()
    health |= {topology.SERVER_IDENTITY} if role in topology.SERVICES else set()
    positions = {"$JS.API.STREAM.INFO.ATTEMPTS"} if user == "usage-ledger" else set()
    dead_letters = {f"$JS.API.{verb.format('DEAD_LETTERS')}" for verb in DEAD_LETTER_RIGHTS if user == "usage-ledger"}
    live = {f"$JS.API.{verb}.LIVE" for verb in ("STREAM.INFO", "DIRECT.GET") if user == "console"}
    traces = {"$JS.API.DIRECT.GET.TRACES"} if user == "usage-ledger" else set()
    reads = buckets | dead_letters | positions | live | traces
    assert set(rights.publish) <= published | frames | jetstream | health | reads
    subscribed = {
        f"{pattern} {subject.queue}" if subject.queue else pattern
        for subject in topology.subscriptions_of(role)
        for pattern in [subject.pattern(**ours)]
    }
    views = {f"kfview.{bucket.name}.>" for bucket in BUCKETS}
    events = {"kflive.>"} if user == "console" else set()
    assert set(rights.subscribe) <= subscribed | views | events | {f"{topology.inbox_prefix(user)}.>"}
    assert not rights.unrestricted
    for right in (*rights.publish, *rights.subscribe):
        assert not right.startswith(("*", ">")), "a wildcard at the start reaches the server's own subjects"


@pytest.mark.parametrize("user", USERS)
def test_services_that_receive_requests_may_reply_once(user: str) -> None:
    asked = any(subject.kind is SubjectKind.REQUEST for subject in topology.subscriptions_of(topology.role_of(user)))
    assert permissions(user).responds == asked
    assert asked == (topology.role_of(user) in SERVICES)


def test_only_the_provisioner_is_unrestricted() -> None:
    assert permissions(Role.PROVISIONER) == Permissions((">",), (">",), responds=False, unrestricted=True)


def test_users_are_one_for_each_role_and_one_for_each_worker_slot() -> None:
    slots = {"provider-worker-1", "provider-worker-2"}
    roles = set(Role) - {Role.PROVIDER_WORKER, Role.INTERNAL_CLIENT}
    assert set(topology.users(SLOTS, CLIENTS)) == roles | slots | set(CLIENTS)
    assert [topology.role_of(user) for user in ("provider-worker-2", "ingress")] == [Role.PROVIDER_WORKER, Role.INGRESS]


@pytest.mark.parametrize(
    "user", ["stranger", "stranger.acme.crm", "internal-client.acme", "internal-client.acme.crm.x"]
)
def test_an_unknown_user_has_no_role(user: str) -> None:
    with pytest.raises(ValueError):
        topology.role_of(user)


@pytest.mark.parametrize(("tenant", "name"), [("a.b", "c"), ("*", "c"), ("a", ">"), ("", "c"), ("a", ""), ("A", "c")])
def test_a_clients_name_cannot_reach_beyond_its_tenant(tenant: str, name: str) -> None:
    with pytest.raises(ValueError, match="cannot name a client"):
        topology.internal_client(tenant, name)


def test_an_internal_client_is_recognised_by_its_name() -> None:
    user = topology.internal_client("a-b", "c-1")
    assert (topology.role_of(user), topology.tenant_of(user)) == (Role.INTERNAL_CLIENT, "a-b")
    assert topology.tenant_of("provider-worker-1") is None
    assert topology.inbox_prefix(user) == "_INBOX_c.internal-client.a-b.c-1"


def test_a_message_is_addressed_by_its_fields_and_must_match_its_subject() -> None:
    asked = ListModels(tenant="acme")
    assert topology.MODEL_LIST.address(asked) == "kf.v1.model.list.acme"
    assert topology.MODEL_LIST.matches("kf.v1.model.list.acme", asked)
    assert not topology.MODEL_LIST.matches("kf.v1.model.list.other", asked)
    assert topology.TENANT_LIST.matches(topology.TENANT_LIST.format(), ListTenants())
    registered = WorkerRegistration(
        worker_id="provider-worker-1", instance_id="b", suite="s", public_key="k", not_after_unix_ms=1, signature="s"
    )
    assert topology.WORKER_REGISTER.matches("kf.v1.worker.register.provider-worker-1", registered)
    assert not topology.WORKER_REGISTER.matches("kf.v1.worker.register.provider-worker-2", registered)


def test_replies_go_only_to_inboxes_of_publishers() -> None:
    for subject in SUBJECTS:
        prefixes = topology.reply_prefixes(subject)
        if subject in (topology.ATTEMPT_RUN, topology.REQUEST_REROUTE):
            assert prefixes == FRAME_INBOXES
            continue
        for user in USERS:
            if topology.role_of(user) is not Role.INTERNAL_CLIENT:
                inbox = f"{topology.inbox_prefix(user)}.x"
                publishes = topology.role_of(user) in subject.publishers
                # Callers over the bus share a prefix: a reply allowed to one of them is allowed to all.
                shared = inbox.startswith(CALLER_INBOX) and any(p.startswith(CALLER_INBOX) for p in prefixes)
                assert inbox.startswith(prefixes) == publishes or shared, f"{subject.name} {user}"


def test_a_subject_needs_every_placeholder() -> None:
    with pytest.raises(KeyError):
        topology.CHAT_REQUEST.format()
    assert topology.CHAT_REQUEST.format(tenant="acme") == "kf.v1.chat.request.acme"
