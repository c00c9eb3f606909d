"""A decision as the steps that led to it, in words: what was asked for, what was removed and why, what was chosen. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from types import MappingProxyType

from pydantic import Field

from keyferry.contracts.drop_reason import DropReason
from keyferry.contracts.route import Candidate, DecisionRecord
from keyferry.contracts.text import Count, Explanation, Identifier, Line
from services.console.views import View

MAX_EXAMPLES = 5

WORDS: Mapping[DropReason, str] = MappingProxyType(
    {
        DropReason.TENANT_SUSPENDED: "the tenant is suspended",
        DropReason.MODEL_NOT_OFFERED: "the model is not offered there",
        DropReason.ENDPOINT_DISABLED: "the endpoint is switched off",
        DropReason.NOT_NAMED: "the request names another endpoint",
        DropReason.MODEL_NOT_ALLOWED: "the client token may not use the model",
        DropReason.ALREADY_TRIED: "an attempt of this request has failed there",
        DropReason.NOT_FOLLOWED: "nothing follows the failure of the attempt before",
        DropReason.RETRY_BUDGET: "the provider fails so often that few requests are tried there again",
        DropReason.CONTEXT_TOO_SHORT: "the request is too long for the model",
        DropReason.UNHEALTHY: "the circuit is open, or a pause was asked for",
        DropReason.WRONG_KIND: "the model does not support this kind of request",
        DropReason.NOT_IN_CATALOG: "the model is not approved, and no own key lists it",
        DropReason.NO_KEY: "there is no key for the provider",
        DropReason.KEY_POLICY: "the key policy excludes keys of this owner",
        DropReason.KEY_UNUSABLE: "the key cannot be used",
        DropReason.KEY_LIMIT_SPENT: "the key's monthly limit is spent",
        DropReason.KEY_COOLING: "the provider asked the key to pause",
        DropReason.KEY_PAUSED: "the key is paused",
        DropReason.KEY_NOT_FOR_MODEL: "the key may not be used for the model",
        DropReason.KEY_OTHER_SCOPE: "the key is for another team or member",
        DropReason.SERVER_NOT_NAMED: "the key is for a server that the request does not name",
        DropReason.KEY_ELSEWHERE: "the key's region does not have the model",
        DropReason.TIER_TOO_LOW: "the tenant's tier does not include the model",
        DropReason.MODEL_RETIRED: "the model is retired",
        DropReason.PROVIDER_RETIRED: "the provider is retired",
        DropReason.UNREADABLE: "what is known of the model cannot be read",
        DropReason.NO_CREDIT: "the credits do not cover it",
        DropReason.BUDGET_SPENT: "a budget does not cover it",
        DropReason.UNPRICED: "the model has no list price",
        DropReason.UNAPPROVED: "the tenant allows only approved models",
        DropReason.ROUTING_MODE: "the routing mode excludes it",
        DropReason.OUTSIDE_EU: "EU-only: it is not known to be processed in the European Union",
        DropReason.REGION_NOT_ALLOWED: "its region is not allowed",
        DropReason.PROVIDER_SWITCH_OFF: "the request stays at its first provider",
    }
)
"""What each reason means, in words."""


class StepKind(StrEnum):
    """What a step of a decision does."""

    ASKED = "asked"
    RULE = "rule"
    """A routing rule matched."""
    PREFERENCE = "preference"
    MODELS = "models"
    """Models were passed over before places to call them were looked at."""
    FILTER = "filter"
    """Candidates were removed for one reason."""
    CHOSEN = "chosen"
    REFUSED = "refused"


class DecisionStep(View):
    """One step."""

    kind: StepKind
    text: Explanation
    reason: DropReason | None = None
    """Of a filter."""
    removed: Count = 0
    left: Count | None = None
    """Candidates that are left after it; null before they are looked at."""
    examples: list[Explanation] = Field(default_factory=list)
    """Some of what was removed, with the reason of each in its own words."""


class ExplainedDecision(View):
    """The steps of one decision, in order."""

    decision_id: Identifier
    attempt_number: Count
    chosen: Line | None
    """`provider/model`; null for a refusal."""
    steps: list[DecisionStep]


def explain(decision: DecisionRecord) -> ExplainedDecision:
    """Return the steps of a decision."""
    chosen = _chosen(decision)
    return ExplainedDecision(
        decision_id=decision.decision_id,
        attempt_number=decision.attempt_number,
        chosen=None if chosen is None else _name(chosen),
        steps=[*_asked(decision), *_models(decision), *_filters(decision.candidates), _end(decision, chosen)],
    )


def _asked(decision: DecisionRecord) -> Iterator[DecisionStep]:
    level = decision.power_level or decision.asked_level
    words = f" at the level {level.value}" if level is not None else ""
    operation = f" for {decision.operation}" if decision.operation is not None else ""
    yield DecisionStep(kind=StepKind.ASKED, text=f"asked for {decision.model_asked}{words}{operation}")
    if decision.rule is not None:
        yield DecisionStep(kind=StepKind.RULE, text=f"the routing rule {decision.rule.rule} matched")
    for preference in decision.preferences:
        text = (
            f"{preference.name} is {preference.value}, from {preference.origin} {preference.origin_id or ''}".rstrip()
        )
        yield DecisionStep(kind=StepKind.PREFERENCE, text=text)


def _models(decision: DecisionRecord) -> Iterator[DecisionStep]:
    """Yield the models that were passed over."""
    passed = [model for model in decision.models if not model.planned]
    if passed:
        kept = len(decision.models) - len(passed)
        yield DecisionStep(
            kind=StepKind.MODELS,
            text=f"{len(passed)} of {len(decision.models)} models were passed over; {kept} are in the plan",
            removed=len(passed),
            examples=[f"{model.model}: {model.detail}" for model in passed[:MAX_EXAMPLES]],
        )


def _filters(candidates: Sequence[Candidate]) -> Iterator[DecisionStep]:
    """Yield one step for each reason for which candidates were dropped, in the order of the reasons."""
    left = len(candidates)
    for reason in DropReason:
        dropped = [each for each in candidates if not each.kept and each.reason is reason]
        if dropped:
            left -= len(dropped)
            yield DecisionStep(
                kind=StepKind.FILTER,
                text=f"removed {len(dropped)}: {WORDS[reason]}",
                reason=reason,
                removed=len(dropped),
                left=left,
                examples=_examples(dropped),
            )


def _examples(dropped: Iterable[Candidate]) -> list[str]:
    texts = dict.fromkeys(f"{_name(each)}: {each.detail}" for each in dropped)
    return list(texts)[:MAX_EXAMPLES]


def _end(decision: DecisionRecord, chosen: Candidate | None) -> DecisionStep:
    if chosen is None:
        message = decision.refusal.message if decision.refusal is not None else "no attempt followed"
        return DecisionStep(kind=StepKind.REFUSED, text=message, left=0)
    others = len(decision.order) - 1
    more = f"; {others} more could follow" if others else ""
    return DecisionStep(kind=StepKind.CHOSEN, text=f"{_name(chosen)}: {chosen.detail}{more}", left=len(decision.order))


def _chosen(decision: DecisionRecord) -> Candidate | None:
    if decision.refusal is not None or not decision.order or decision.order[0] >= len(decision.candidates):
        return None
    return decision.candidates[decision.order[0]]


def _name(candidate: Candidate) -> str:
    return f"{candidate.endpoint or candidate.provider}/{candidate.model}"
