"""Messages of the bus as events: for whom they are, and what is in them."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from keyferry.contracts.access_role import AccessRole
from keyferry.contracts.envelope import MalformedMessage
from keyferry.contracts.health import CircuitState, HealthChange, KeyClass, Target
from services.console.live_events.changes import LiveChange, decode_change
from services.console.live_events.topics import TENANT_ROUTES, Audience, Topic, choose_topics

NOW = datetime(2026, 11, 30, 14, tzinfo=UTC)
OPENAI = {"provider": "openai", "model": "gpt-4o", "origin": "https://api.openai.com"}
ALL_TOPICS = frozenset(Topic)


def audience(role: AccessRole, tenant: str | None = "acme", actor: str = "ann") -> Audience:
    topics = ALL_TOPICS if tenant is None else choose_topics(None, role, TENANT_ROUTES)
    return Audience(tenant, role, actor, topics)


def health(target: dict[str, Any], **values: object) -> LiveChange:
    body = {"target": Target(**target), "state": CircuitState.OPEN, "reason": "it fails", "changed_at": NOW} | values
    return LiveChange(1, Topic.HEALTH, HealthChange.model_validate(body))


def audited(action: str, **values: object) -> LiveChange | None:
    event = {
        "event_id": "evt_1",
        "service": "router",
        "tenant": "acme",
        "actor": "ann",
        "action": action,
        "target": "version 7",
        "outcome": "done",
        "details": {"secret": "of the audit log only"},
        "at": NOW.isoformat(),
        "sequence": 1,
    }
    return decode_change(1, "kf.v1.audit.recorded.router", json.dumps(event | values).encode())


@pytest.mark.parametrize(
    ("target", "known", "shown"),
    [
        (OPENAI | {"key_class": KeyClass.PLATFORM}, {}, {"acme", "globex"}),
        (OPENAI | {"key_class": KeyClass.PLATFORM, "tenant": "acme"}, {}, {"acme"}),
        (OPENAI | {"key_class": KeyClass.PLATFORM, "key_id": "key_1"}, {}, set()),
        (OPENAI | {"key_id": "key_1", "tenant": "globex"}, {}, {"globex"}),
        (OPENAI, {}, set()),
        (OPENAI, {"known_to": "acme"}, {"acme"}),
        (OPENAI, {"widely_known": True}, {"acme", "globex"}),
        ({"provider": "custom", "model": "llama", "tenant": "globex", "endpoint": "lab"}, {}, {"globex"}),
    ],
)
def test_health_is_for_those_who_may_know_of_the_target(target: Any, known: Any, shown: set[str]) -> None:
    change = health(target, **known)
    found = {tenant for tenant in ("acme", "globex") if change.is_for(audience(AccessRole.VIEWER, tenant))}
    assert found == shown
    assert change.is_for(audience(AccessRole.OPERATOR, None)), "operators see all"


def test_the_address_that_an_operator_has_chosen_is_for_operators() -> None:
    change = health(OPENAI | {"key_class": KeyClass.PLATFORM, "origin": "https://eu.example"})
    shown = json.loads(change.render(audience(AccessRole.OWNER)))["health"]["target"]["origin"]
    assert shown is None
    assert "https://eu.example" in change.render(audience(AccessRole.OPERATOR, None))


@pytest.mark.parametrize(
    ("state", "outage"),
    [("open", "began"), ("cooling", "began"), ("closed", "ended"), ("pacing", None)],
)
def test_an_outage_begins_and_ends(state: str, outage: str | None) -> None:
    change = health(OPENAI, state=state, samples=4, failures=1, widely_known=True)
    found = json.loads(change.render(audience(AccessRole.OWNER)))
    assert (found["outage"], found["health"]["success_percent"]) == (outage, 75.0)
    assert not {"widely_known", "known_to"} & found["health"].keys()


@pytest.mark.parametrize(
    ("action", "topic"),
    [
        ("routing_rules.publish", Topic.RULES),
        ("rule_draft.save", Topic.RULES),
        ("preferences.save", Topic.RULES),
        ("endpoint.remove", Topic.RULES),
        ("token.create", Topic.TOKENS),
        ("member.update", Topic.MEMBERS),
        ("invitation.create", Topic.MEMBERS),
        ("team.remove", Topic.MEMBERS),
        ("session.start", None),
        ("tenant.update", None),
        ("operator.access", None),
    ],
)
def test_actions_of_the_audit_are_changes_of_a_topic(action: str, topic: Topic | None) -> None:
    change = audited(action)
    assert (change.topic if change else None) == topic
    if change is not None:
        assert change.is_for(audience(AccessRole.OWNER))
        assert not change.is_for(audience(AccessRole.OWNER, "globex"))
        assert json.loads(change.render(audience(AccessRole.OWNER))).keys() == {"action", "target", "at"}


def test_what_was_refused_changes_nothing() -> None:
    assert audited("token.create", outcome="refused") is None


def test_a_developer_gets_the_changes_of_its_own_tokens() -> None:
    change = audited("token.create")
    assert change is not None
    assert change.is_for(audience(AccessRole.DEVELOPER))
    assert not change.is_for(audience(AccessRole.DEVELOPER, actor="bob"))
    assert change.is_for(audience(AccessRole.ADMIN, actor="bob"))
    assert not change.is_for(audience(AccessRole.VIEWER))


def test_what_nobody_shows_and_what_cannot_be_read() -> None:
    assert decode_change(1, "kf.v1.lease.alarmed.worker", b"{}") is None
    with pytest.raises(MalformedMessage):
        decode_change(1, "kf.v1.credits.changed.acme", b"{}")
