"""Who gets which events: those who may read the same over HTTP."""

import pytest

from keyferry.contracts.access_role import AccessRole
from keyferry.runtime.http.problem import HttpProblem
from services.console.access import ALLOWED
from services.console.live_events.topics import (
    INSTALLATION_ROUTES,
    TENANT_ROUTES,
    Audience,
    Topic,
    choose_topics,
)


def test_every_topic_has_a_route_that_exists() -> None:
    assert {*TENANT_ROUTES} | {*INSTALLATION_ROUTES} == set(Topic)
    assert all(("GET", route) in ALLOWED for route in (*TENANT_ROUTES.values(), *INSTALLATION_ROUTES.values()))


@pytest.mark.parametrize("role", list(AccessRole))
def test_a_role_gets_the_topics_that_it_may_read(role: AccessRole) -> None:
    expected = {topic for topic, route in TENANT_ROUTES.items() if role in ALLOWED["GET", route]}
    assert choose_topics(None, role, TENANT_ROUTES) == expected
    assert (Topic.TOKENS in expected) == (role is not AccessRole.VIEWER)
    assert expected >= {Topic.HEALTH, Topic.REQUESTS, Topic.CREDITS}
    for topic in set(TENANT_ROUTES) - expected:
        with pytest.raises(HttpProblem) as refused:
            choose_topics(f"health,{topic}", role, TENANT_ROUTES)
        assert (refused.value.status, refused.value.param) == (403, "topics")
    everything = choose_topics(None, role, INSTALLATION_ROUTES)
    assert everything == (set(INSTALLATION_ROUTES) if role is AccessRole.OPERATOR else set())


@pytest.mark.parametrize(
    "given", ["money", "", "health,", "Health", "health;keys", "dead_letters", "sk-proj-Qw7Zr2Lm9Xc4"]
)
def test_an_unknown_topic_is_refused_with_the_known_ones(given: str) -> None:
    with pytest.raises(HttpProblem) as refused:
        choose_topics(given, AccessRole.OWNER, TENANT_ROUTES)
    assert refused.value.status == 422
    assert "alerts, credits, health, keys, members, requests, rules, tokens" in refused.value.message
    assert "Qw7Zr2Lm9Xc4" not in refused.value.message


def test_the_log_is_read_for_one_tenant_only() -> None:
    audience = Audience("acme", AccessRole.OWNER, "ann", frozenset(TENANT_ROUTES))
    assert audience.subjects() == [
        "kf.v1.alert.changed.acme",
        "kf.v1.audit.recorded.*",
        "kf.v1.credits.changed.acme",
        "kf.v1.health.changed.*",
        "kf.v1.key.changed.acme",
        "kf.v1.request.recorded.acme",
    ]
    assert Audience(None, AccessRole.OPERATOR, "op", frozenset({Topic.REQUESTS})).subjects() == [
        "kf.v1.request.recorded.*"
    ]
