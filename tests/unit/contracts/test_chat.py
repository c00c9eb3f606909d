"""Every field of a request's head is forwarded from message to message."""

from datetime import UTC, datetime
from typing import Any

import pytest

from keyferry.contracts.chat import AttemptRun, ChatRequest, RequestHead, Reroute
from keyferry.contracts.failure import Failure, FailureClass
from keyferry.contracts.features import PowerLevel, RequestFeatures
from keyferry.contracts.limits import Limits
from keyferry.contracts.route import Endpoint
from keyferry.contracts.tenancy import Tenant, Tier
from keyferry.contracts.usage import KeySource, RequestKind
from services.provider_worker.fallback import reroute
from services.router.decide import FreshIds, decide
from services.router.planning.context import RoutingContext

NOW = datetime(2026, 11, 1, tzinfo=UTC)
VALUES: dict[str, Any] = {
    "request_id": "req_1",
    "kind": RequestKind.EMBEDDING,
    "tenant": "acme",
    "client_token_id": "tok_1",
    "model": "echo",
    "stream": True,
    "include_usage": True,
    "operation": "summary",
    "tags": {"team": "a"},
    "deadline_ms": 1234,
    "start_by_unix_ms": 5678,
    "confirm_start": True,
    "credit_bytes": 99,
    "allowed_models": ["echo", "other"],
    "team": "team_1",
    "member": "member_1",
    "power_level": PowerLevel.ECO,
    "features": RequestFeatures(input_tokens=7, tools=True),
    "conversation": "conversation_1",
    "explain": True,
    "token_limits": Limits(rpm=7),
    "prefer_own_keys": "first",
    "traceparent": "00-1-1-01",
    "grant": "v1:ingress:1:digest:signature",
}
"""A value for each field of a request's head, other than its default."""

ATTEMPT: dict[str, Any] = {
    "attempt_id": "att_1",
    "attempt_number": 1,
    "decision_id": "dec_1",
    "provider": "custom",
    "model_asked": "echo",
    "key_source": KeySource.NONE,
    "remaining_candidates": 1,
}


def head_fields(message: RequestHead, *but: str) -> dict[str, Any]:
    return {name: getattr(message, name) for name in RequestHead.model_fields if name not in but}


def expected(*but: str) -> dict[str, Any]:
    return {name: value for name, value in VALUES.items() if name not in but}


def test_the_values_cover_every_field_with_another_value_than_its_default() -> None:
    assert VALUES.keys() == RequestHead.model_fields.keys()
    for name, field in RequestHead.model_fields.items():
        assert field.is_required() or field.get_default(call_default_factory=True) != VALUES[name], name


def test_a_derived_message_has_every_field_of_the_head() -> None:
    assert head_fields(ChatRequest(**VALUES).derive(AttemptRun, **ATTEMPT)) == VALUES
    run = AttemptRun(**VALUES, **ATTEMPT, base_url="https://example.com", key_id="key_1")
    derived = run.derive(ChatRequest)
    assert type(derived) is ChatRequest
    assert head_fields(derived) == VALUES


def test_changes_override_the_head() -> None:
    derived = ChatRequest(**VALUES).derive(AttemptRun, **ATTEMPT, model="upstream-name", traceparent=None)
    assert (derived.model, derived.traceparent) == ("upstream-name", None)
    assert head_fields(derived, "model", "traceparent") == expected("model", "traceparent")


def test_a_misspelt_change_raises() -> None:
    with pytest.raises(TypeError, match="AttemptRun has no field atempt_id"):
        ChatRequest(**VALUES).derive(AttemptRun, **ATTEMPT, atempt_id="att_1")


def test_the_router_and_the_worker_forward_every_field() -> None:
    endpoint = Endpoint(tenant="acme", name="a", base_url="https://a.example/v1", models=["echo"])
    context = RoutingContext(Tenant(tenant="acme", name="Acme", tier=Tier.STARTER), [endpoint], NOW)
    request = ChatRequest(**{**VALUES, "kind": RequestKind.CHAT})
    decision = decide(request, context, FreshIds("dec_1", "att_1"), traceparent="00-2-2-01")
    assert decision.run is not None
    assert head_fields(decision.run, "kind", "traceparent") == expected("kind", "traceparent")
    run = AttemptRun(**VALUES, **ATTEMPT)
    failure = Failure(failure_class=FailureClass.SERVER, message="why")
    again = reroute(run, failure, left_ms=1000, now_unix_ms=0)
    assert type(again) is Reroute
    assert head_fields(again, "deadline_ms", "start_by_unix_ms") == expected("deadline_ms", "start_by_unix_ms")
