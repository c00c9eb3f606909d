"""A dry run compares two plans of each past request, and counts costs exactly."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

from keyferry.contracts.chat import ChatRequest
from keyferry.contracts.features import PowerLevel
from keyferry.contracts.past_decisions import PastAttempt, PastDecision
from keyferry.contracts.rule_management import DryRunReport, RuleChangeKind
from keyferry.contracts.usage import KeySource, Outcome, TokenUsage
from services.router.decide import FreshIds, decide, record
from services.router.power.ratings import NOTHING_LEARNED
from services.router.power.tables import PowerTables
from services.router.rules.difference import compare, text_difference
from services.router.rules.dry_run import costs_of, replan, report
from tests.support.router.power import quality
from tests.support.router.rule_sets import PUBLISHED_AT, routing_context, rule, rule_set, tenant_rules

RATES = {"gpt-4o": Decimal("0.000003"), "claude-haiku-4-5": Decimal("0.000001")}


def attempt(model: str, latency_ms: int, outcome: Outcome = Outcome.COMPLETED, tokens: int = 1000) -> PastAttempt:
    provider = "anthropic" if model.startswith("claude") else "openai"
    return PastAttempt(
        provider=provider,
        model=model,
        key_source=KeySource.BYOK,
        outcome=outcome,
        token_usage=TokenUsage(input=tokens),
        latency_ms=latency_ms,
    )


def past(number: int, operation: str, *attempts: PastAttempt, **changes: Any) -> PastDecision:
    values: dict[str, Any] = {
        "decision_id": f"dec_{number}",
        "request_id": f"req_{number}",
        "tenant": "acme",
        "decided_at": PUBLISHED_AT - timedelta(minutes=number),
        "model_asked": "gpt-4o",
        "operation": operation,
        "attempts": list(attempts),
    }
    return PastDecision.model_validate(values | changes)


def cost(provider: str, model: str, tokens: TokenUsage) -> Decimal | None:
    rate = RATES.get(model)
    return None if rate is None else rate * tokens.input


def dry_run(requests: list[PastDecision], *rules: dict[str, Any], allowed: list[str] | None = None) -> DryRunReport:
    context, tried = routing_context(), tenant_rules(*rules)
    results = [replan(request, context, tried, allowed) for request in requests]
    costs = [costs_of(result, cost) for result in results]
    return report(results, costs, rule_set(*rules), tenant="acme", published=6, more=True)


def test_what_changes_is_counted_with_cost_and_latency() -> None:
    requests = [
        past(1, "code", attempt("gpt-4o", 500, Outcome.FAILED, 7), attempt("gpt-4o", 900)),
        past(2, "code", attempt("gpt-4o", 1100)),
        past(3, "chat", attempt("claude-haiku-4-5", 300), model_asked="claude-haiku-4-5"),
        past(4, "code"),
    ]
    found = dry_run(
        requests, rule("code", "claude-haiku-4-5", operation="code"), rule("idle", "gpt-4o", operation="idle")
    )
    assert (found.requests, found.changed, found.refused, found.newly_refused) == (4, 3, 0, 0)
    assert (found.oldest, found.newest) == (requests[-1].decided_at, requests[0].decided_at)
    assert (found.cost_before_usd, found.cost_after_usd, found.unpriced) == (Decimal("0.007"), Decimal("0.003"), 1)
    assert (found.latency_before_ms, found.latency_after_ms) == (825, 300)
    (move,) = found.moves
    assert (move.before, move.after, move.requests) == ("openai/gpt-4o", "anthropic/claude-haiku-4-5", 3)
    assert (move.cost_before_usd, move.cost_after_usd, move.unpriced) == (Decimal("0.006"), Decimal("0.002"), 1)
    assert (move.latency_before_ms, move.latency_after_ms) == (1000, 300)
    assert [(each.rule, each.requests) for each in found.matches] == [("code", 3), ("idle", 0)]
    assert [each.request_id for each in found.examples] == ["req_1", "req_2", "req_4"]
    assert found.examples[0].rule == "code"


def test_requests_that_would_be_refused_have_a_reason() -> None:
    found = dry_run(
        [past(1, "code"), past(2, "chat", model_asked="nonsense")], rule("code", "grok-4", operation="code")
    )
    assert (found.changed, found.refused, found.newly_refused) == (1, 2, 1)
    (example,) = found.examples
    assert (example.before, example.after) == ("openai/gpt-4o", None)
    assert "no key may pay for 'grok-4'" in example.reason
    assert (found.cost_before_usd, found.unpriced) == (None, 2)


def test_the_limits_of_a_client_token_apply() -> None:
    found = dry_run([past(1, "code")], rule("code", "claude-haiku-4-5", operation="code"), allowed=["gpt-4o"])
    assert found.newly_refused == 1


def test_a_request_is_planned_with_the_level_that_it_asked_for_and_not_with_the_one_that_was_applied() -> None:
    """A saved level, `auto` and a rule apply levels that the request did not name: conditions do not see them."""
    tables = PowerTables(quality())
    context = replace(
        routing_context(rule("better", [{"power_level": "precision"}], model="eco")),
        power_table=lambda request, facts: tables.of(request, facts, NOTHING_LEARNED),
    )
    request = ChatRequest(
        request_id="req_1", tenant="acme", model="eco", stream=False, deadline_ms=1, start_by_unix_ms=1, credit_bytes=1
    )
    fresh = FreshIds("dec_1", "att_1")
    made = record(
        request,
        decide(request, context, fresh, traceparent=None),
        fresh,
        router="router",
        now=PUBLISHED_AT,
        duration_us=1,
        trace="t",
    )
    assert (made.power_level, made.asked_level) == (PowerLevel.PRECISION, None)
    known = {name: value for name, value in made.model_dump().items() if name in PastDecision.model_fields}
    decision = PastDecision.model_validate(known)
    removed = replan(decision, context, None, None)
    assert removed.served_after is not None, "eco without the rule is eco, and no contradiction"
    conditional = replan(decision, context, tenant_rules(rule("p", "gpt-4o", power_level="precision")), None)
    assert conditional.after.rule is None


def test_nothing_to_plan_is_no_error() -> None:
    found = dry_run([], rule("code", "gpt-4o", operation="code"))
    assert (found.requests, found.moves, found.oldest, found.cost_before_usd) == (0, [], None, None)


def test_a_difference_names_rules_and_fields() -> None:
    before = rule_set(
        rule("a", "m", operation="x"),
        rule("b", "m", operation="y"),
        rule("c", "m", tag="t"),
        rule("gone", "m", tag="u"),
    )
    after = rule_set(
        rule("c", "m", tag="t"),
        rule("a", "n", operation="x", team="z"),
        rule("b", "m", operation="y"),
        rule("new", "m", tag="u"),
    )
    assert [(each.rule, each.change, each.fields) for each in compare(before, after)] == [
        ("gone", RuleChangeKind.REMOVED, []),
        ("c", RuleChangeKind.MOVED, []),
        ("a", RuleChangeKind.CHANGED, ["when.team", "chain"]),
        ("new", RuleChangeKind.ADDED, []),
    ]
    assert compare(after, after) == []
    assert text_difference(after, after, ("a", "b")) == []
    lines = text_difference(before, after, ("version 1", "new rules"))
    assert lines[:2] == ["--- version 1", "+++ new rules"]
    assert "+      team: [z]" in lines
