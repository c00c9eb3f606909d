"""Thirty requests, written by hand: which model each level chooses on the bundled catalog, prices and qualities, and why."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from keyferry.contracts.features import PowerLevel
from keyferry.contracts.preferences import RoutingMode
from keyferry.contracts.tenancy import Tier
from services.router.planning.plan import plan
from services.router.preferences.effective import EffectivePreferences
from tests.support.router.power import asks, power_context

ECO, BALANCED, PRECISION = PowerLevel


@dataclass(frozen=True, slots=True)
class Case:
    """A tenant, a request, and what has to be chosen."""

    why: str
    asked: str
    chosen: str
    level: PowerLevel
    tenant: Mapping[str, Any] = field(default_factory=dict)
    request: Mapping[str, Any] = field(default_factory=dict)


PREFERS_EU = EffectivePreferences(eu_only=True)
OWN_ANTHROPIC = {"platform": (), "own": ("anthropic",)}
OWN_OPENAI = {"platform": (), "own": ("openai",)}

CASES = (
    # --- the levels, for all that the platform has
    Case("the cheapest model of at least 50: $0.03 and $0.14 a million at OpenRouter", "eco", "gpt-oss-20b", ECO),
    Case("84 points for a sixth of a cent beats 94 for a cent", "balanced", "deepseek-v3.2", BALANCED),
    Case("the best score of the file, 98, whatever it costs", "precision", "gpt-5.5", PRECISION),
    # --- tiers: the platform's keys pay only for what the tier includes
    Case("free has gpt-oss-20b, which is as cheap for it", "eco", "gpt-oss-20b", ECO, {"tier": Tier.FREE}),
    Case("free has no deepseek-v3.2; 79 points are worth twice 71", "balanced", "gpt-oss-120b", BALANCED, {"tier": Tier.FREE}),
    Case(
        "starter's best have 84 points; of those deepseek-v3.2 is the cheapest",
        "precision", "deepseek-v3.2", PRECISION, {"tier": Tier.STARTER},
    ),
    Case(
        "professional has gemini-3.1-pro-preview with 95, and no gpt-5.5",
        "precision", "gemini-3.1-pro-preview", PRECISION, {"tier": Tier.PROFESSIONAL},
    ),
    # --- own keys only
    Case("the cheapest of Anthropic, though the worst", "eco", "claude-haiku-4-5", ECO, OWN_ANTHROPIC),
    Case("26 points above the least for three times haiku's 17", "balanced", "claude-sonnet-4-5", BALANCED, OWN_ANTHROPIC),
    Case("91 against sonnet's 90; opus-5 and sonnet-5 are unknown", "precision", "claude-opus-4-5", PRECISION, OWN_ANTHROPIC),
    Case("gpt-5-nano has 73 and is the cheapest of OpenAI", "eco", "gpt-5-nano", ECO, OWN_OPENAI),
    Case("gpt-5.1 costs five times gpt-5-mini for 10 points more", "balanced", "gpt-5-mini", BALANCED, OWN_OPENAI),
    # --- what a request needs
    Case("deepseek-v3.2 sees no images; grok-4-fast does", "balanced", "grok-4-fast", BALANCED, {}, {"images": True}),
    Case("nova-lite sees images and is cheaper than scout", "eco", "nova-lite", ECO, {}, {"images": True}),
    Case("only Gemini hears", "eco", "gemini-2.5-flash-lite", ECO, {}, {"audio": True}),
    Case("the best that hears", "precision", "gemini-3.1-pro-preview", PRECISION, {}, {"audio": True}),
    Case(
        "deepseek-v3.2 has no JSON Schema; grok-4-fast has",
        "balanced", "grok-4-fast", BALANCED, {}, {"json_schema": True},
    ),
    Case("300 000 tokens fit only where the context is known to be longer", "eco", "gpt-5-nano", ECO, {}, {"tokens": 300_000}),
    Case(
        "at 300 000 tokens grok-4-fast's 84 points cost less than gpt-5-mini's",
        "balanced", "grok-4-fast", BALANCED, {}, {"tokens": 300_000},
    ),
    Case(
        "an answer of 100 000 tokens is more than all but the GPT-5 family and o3 may write",
        "balanced", "gpt-5-mini", BALANCED, OWN_OPENAI, {"max_output_tokens": 100_000},
    ),
    Case(
        "for code claude-opus-4-5 has 96, more than gemini-2.5-pro's 92",
        "precision", "claude-opus-4-5", PRECISION,
        {"platform": (), "own": ("anthropic", "gemini")}, {"code": True},
    ),
    # --- auto
    Case("a short question needs nothing: 0 points", "auto", "gpt-oss-20b", ECO, {}, {"tokens": 40}),
    Case("tools and 3 000 tokens: 2 points", "auto", "grok-4-fast", BALANCED, {}, {"tools": True, "tokens": 3_000}),
    Case(
        "code, tools and 20 000 tokens: 5 points",
        "auto", "gpt-5.5", PRECISION, {}, {"code": True, "tools": True, "tokens": 20_000},
    ),
    Case("the header asks for eco: auto decides nothing", "auto", "gpt-oss-20b", ECO, {}, {"code": True, "power_level": ECO}),
    # --- what the tenant wants
    Case(
        "a preferred model that fits comes before the cheapest",
        "eco", "gpt-4o-mini", ECO, {"preferences": EffectivePreferences(preferred_models=("claude-opus-5", "gpt-4o-mini"))},
    ),
    Case("of Mistral's, which alone are in the EU here, mistral-small", "eco", "mistral-small", ECO, {"preferences": PREFERS_EU}),
    Case(
        "an own endpoint costs nothing, and mode custom allows nothing else",
        "balanced", "gpt-oss-120b", BALANCED,
        {"endpoints": {"lab": ["gpt-oss-120b"]}, "preferences": EffectivePreferences(mode=RoutingMode.CUSTOM)},
    ),
    Case(
        "the client token may use two models; the better one within the cost",
        "precision", "gpt-4.1", PRECISION, {}, {"allowed_models": ["gpt-4o-mini", "gpt-4.1"]},
    ),
    # --- latency
    Case(
        "deepseek-v3.2 takes 40 s, and balanced allows 30: the next one answers",
        "balanced", "grok-4-fast", BALANCED, {"latency_ms": {"deepseek/deepseek-v3.2": 40_000}},
    ),
)  # fmt: skip


def test_there_are_thirty() -> None:
    assert len(CASES) == 30
    assert len({case.why for case in CASES}) == 30


@pytest.mark.parametrize("case", CASES, ids=[f"{case.asked}-{case.chosen}-{n}" for n, case in enumerate(CASES)])
def test_case(case: Case) -> None:
    planned = plan(asks(case.asked, **case.request), power_context(**case.tenant))
    assert planned.refusal is None, case.why
    assert planned.power_level is case.level
    first = planned.candidates[planned.order[0]]
    assert first.chosen_model == case.chosen, f"{case.why}; the plan says: {planned.models[0].detail}"
    assert planned.models[0].model == case.chosen
