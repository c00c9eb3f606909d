"""What the span of a decision says of it."""

from keyferry.contracts.route import DecisionRecord
from keyferry.runtime.tracing.span import Span


def describe_decision(span: Span, decision: DecisionRecord) -> None:
    """Set what was decided: `route explain` has the rest."""
    chosen = decision.candidates[decision.order[0]] if decision.order and decision.refusal is None else None
    span.set(
        keyferry__request_id=decision.request_id,
        keyferry__tenant=decision.tenant,
        keyferry__decision_id=decision.decision_id,
        keyferry__attempt_number=decision.attempt_number,
        keyferry__model_asked=decision.model_asked,
        keyferry__provider=None if chosen is None else chosen.provider,
        keyferry__model=None if chosen is None else chosen.model,
        keyferry__candidates=len(decision.candidates),
        keyferry__planned=len(decision.order),
    )
    if decision.refusal is not None:
        span.fail(decision.refusal.failure_class.value)
