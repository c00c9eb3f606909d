"""Thirty requests, written by hand: which model each level chooses on the bundled catalog, prices and qualities, and why."""

import re
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
    says: str = field(kw_only=True)
    """How the level was found, and the quality and the cost of the choice."""
    tenant: Mapping[str, Any] = field(default_factory=dict)
    request: Mapping[str, Any] = field(default_factory=dict)


_RANK = re.compile(r": first of \d+ that fit \(quality (\d+), about \$([0-9.]+)(, preferred)?\)")
PREFERS_EU = EffectivePreferences(eu_only=True)
OWN_ANTHROPIC = {"platform": (), "own": ("anthropic",)}
OWN_OPENAI = {"platform": (), "own": ("openai",)}

CASES = (
    # --- the levels, for all that the platform has
    Case("the cheapest model of at least 50: $0.018 and $0.09 a million at OpenRouter", "eco", "gpt-oss-20b", ECO,
         says="the request asks for eco: quality 71, $0.000099"),
    Case("84 points for a twentieth of a cent beat 94 for a cent", "balanced", "deepseek-v3.2", BALANCED,
         says="the request asks for balanced: quality 84, $0.000560"),
    Case("the best score of the file, 98, whatever it costs", "precision", "gpt-5.5", PRECISION,
         says="the request asks for precision: quality 98, $0.032500"),
    # --- tiers: the platform's keys pay only for what the tier includes
    Case("free has gpt-oss-20b, which is as cheap for it", "eco", "gpt-oss-20b", ECO, {"tier": Tier.FREE},
         says="the request asks for eco: quality 71, $0.000099"),
    Case("79 points are worth seven times 71's cost", "balanced", "gpt-oss-120b", BALANCED, {"tier": Tier.FREE},
         says="the request asks for balanced: quality 79, $0.000675"),
    Case(
        "starter's best have 84 points; of those deepseek-v3.2 is the cheapest",
        "precision", "deepseek-v3.2", PRECISION, {"tier": Tier.STARTER},
        says="the request asks for precision: quality 84, $0.000560",
    ),
    Case(
        "professional has gemini-3.1-pro-preview with 95, and no gpt-5.5",
        "precision", "gemini-3.1-pro-preview", PRECISION, {"tier": Tier.PROFESSIONAL},
        says="the request asks for precision: quality 95, $0.013000",
    ),
    # --- own keys only
    Case("the cheapest of Anthropic, though the worst", "eco", "claude-haiku-4-5", ECO, OWN_ANTHROPIC,
         says="the request asks for eco: quality 81, $0.005500"),
    Case("26 points above the least for three times haiku's 17", "balanced", "claude-sonnet-4-5", BALANCED, OWN_ANTHROPIC,
         says="the request asks for balanced: quality 90, $0.016500"),
    Case("91 against sonnet's 90; opus-5 and sonnet-5 are unknown", "precision", "claude-opus-4-5", PRECISION, OWN_ANTHROPIC,
         says="the request asks for precision: quality 91, $0.027500"),
    Case("gpt-5-nano has 73 and is the cheapest of OpenAI", "eco", "gpt-5-nano", ECO, OWN_OPENAI,
         says="the request asks for eco: quality 73, $0.000425"),
    Case("gpt-5.1 costs five times gpt-5-mini for 10 points more", "balanced", "gpt-5-mini", BALANCED, OWN_OPENAI,
         says="the request asks for balanced: quality 84, $0.002125"),
    # --- what a request needs
    Case("deepseek-v3.2 sees no images; grok-4-fast does", "balanced", "grok-4-fast", BALANCED, {}, {"images": True},
         says="the request asks for balanced: quality 84, $0.000600"),
    Case("nova-lite sees images and is cheaper than scout", "eco", "nova-lite", ECO, {}, {"images": True},
         says="the request asks for eco: quality 52, $0.000270"),
    Case("only Gemini hears", "eco", "gemini-2.5-flash-lite", ECO, {}, {"audio": True},
         says="the request asks for eco: quality 76, $0.000450"),
    Case("the best that hears", "precision", "gemini-3.1-pro-preview", PRECISION, {}, {"audio": True},
         says="the request asks for precision: quality 95, $0.013000"),
    Case(
        "deepseek-v3.2 has no JSON Schema; grok-4-fast has",
        "balanced", "grok-4-fast", BALANCED, {}, {"json_schema": True},
        says="the request asks for balanced: quality 84, $0.000600",
    ),
    Case("300 000 tokens fit only where the context is known to be longer", "eco", "gpt-5-nano", ECO, {}, {"tokens": 300_000},
         says="the request asks for eco: quality 73, $0.015400"),
    Case(
        "at 300 000 tokens grok-4-fast's 84 points cost less than gpt-5-mini's",
        "balanced", "grok-4-fast", BALANCED, {}, {"tokens": 300_000},
        says="the request asks for balanced: quality 84, $0.060500",
    ),
    Case(
        "an answer of 100 000 tokens is more than all but the GPT-5 family and o3 may write",
        "balanced", "gpt-5-mini", BALANCED, OWN_OPENAI, {"max_output_tokens": 100_000},
        says="the request asks for balanced: quality 84, $0.002125",
    ),
    Case(
        "for code claude-opus-4-5 has 96, more than gemini-2.5-pro's 92",
        "precision", "claude-opus-4-5", PRECISION,
        {"platform": (), "own": ("anthropic", "gemini")}, {"code": True},
        says="the request asks for precision: quality 96, $0.027500",
    ),
    # --- auto
    Case("a short question needs nothing: 0 points", "auto", "gpt-oss-20b", ECO, {}, {"tokens": 40},
         says="auto chose eco: about 40 tokens of input (0 points): quality 71, $0.000091"),
    Case("tools and 3 000 tokens: 2 points", "auto", "grok-4-fast", BALANCED, {}, {"tools": True, "tokens": 3_000},
         says="auto chose balanced: tools, about 3 000 tokens of input (2 points): quality 84, $0.001100"),
    Case(
        "code, tools and 20 000 tokens: 5 points",
        "auto", "gpt-5.5", PRECISION, {}, {"code": True, "tools": True, "tokens": 20_000},
        says="auto chose precision: code, tools, about 20 000 tokens of input (5 points): quality 98, $0.130000",
    ),
    Case("the header asks for eco: auto decides nothing", "auto", "gpt-oss-20b", ECO, {}, {"code": True, "power_level": ECO},
         says="the request asks for eco: quality 71, $0.000099"),
    # --- what the tenant wants
    Case(
        "a preferred model that fits comes before the cheapest",
        "eco", "gpt-4o-mini", ECO, {"preferences": EffectivePreferences(preferred_models=("claude-opus-5", "gpt-4o-mini"))},
        says="the request asks for eco: quality 64, $0.000675, preferred",
    ),
    Case("of Mistral's, which alone are in the EU here, mistral-small", "eco", "mistral-small", ECO, {"preferences": PREFERS_EU},
         says="the request asks for eco: quality 65, $0.000675"),
    Case(
        "an own endpoint costs nothing, and mode custom allows nothing else",
        "balanced", "gpt-oss-120b", BALANCED,
        {"endpoints": {"lab": ["gpt-oss-120b"]}, "preferences": EffectivePreferences(mode=RoutingMode.CUSTOM)},
        says="the request asks for balanced: quality 79, $0.000000",
    ),
    Case(
        "the client token may use two models; the better one within the cost",
        "precision", "gpt-4.1", PRECISION, {}, {"allowed_models": ["gpt-4o-mini", "gpt-4.1"]},
        says="the request asks for precision: quality 83, $0.009000",
    ),
    # --- latency
    Case(
        "deepseek-v3.2 takes 40 s, and balanced allows 30: the next one answers",
        "balanced", "grok-4-fast", BALANCED, {"latency_ms": {"deepseek/deepseek-v3.2": 40_000}},
        says="the request asks for balanced: quality 84, $0.000600",
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
    assert _RANK.sub(r": quality \1, $\2\3", planned.models[0].detail) == case.says, case.why
