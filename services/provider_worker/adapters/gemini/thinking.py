"""Translates OpenAI's `reasoning_effort` to Gemini's `thinkingConfig`.

Source of the figures: the table of the Gemini API's page on OpenAI compatibility.
"""

from services.provider_worker.adapters.gemini.models import generation, takes_thinking_level
from services.provider_worker.adapters.gemini.unsupported import UnsupportedFields, bad_field
from services.provider_worker.adapters.response.json_text import JsonObject

_BUDGETS_TOKENS = {"none": 0, "minimal": 1024, "low": 1024, "medium": 8192, "high": 24576}
_LEVELS = {"minimal": "MINIMAL", "low": "LOW", "medium": "MEDIUM", "high": "HIGH"}
_FIRST_THINKING = (2, 5)


def thinking_config(effort: object, model: str, unsupported: UnsupportedFields) -> JsonObject | None:
    """Return the `thinkingConfig` for `effort`, with thought summaries if it thinks; null if it is left out.

    A model whose name has no generation gets a budget, which Gemini 3 takes too. Raises RefusedByAdapter.
    """
    if not isinstance(effort, str) or effort not in (*_BUDGETS_TOKENS, "xhigh", "max"):
        raise bad_field("reasoning_effort", "it must be none, minimal, low, medium or high.")
    version = generation(model)
    advice = None
    if version is not None and version < _FIRST_THINKING:
        if effort == "none":
            return None
        advice = f"{model} does not think; take a newer model."
    elif effort not in _BUDGETS_TOKENS:
        advice = "it must be none, minimal, low, medium or high."
    elif effort == "none" and (takes_thinking_level(model) or "2.5-pro" in model):
        advice = f"{model} always thinks; take `minimal` or `low`."
    if advice is not None:
        unsupported.drop_or_reject("reasoning_effort", advice)
        return None
    if takes_thinking_level(model):
        # The Pro models have no level below low.
        level = "LOW" if effort == "minimal" and "-pro" in model else _LEVELS[effort]
        return {"thinkingLevel": level, "includeThoughts": True}
    budget = _BUDGETS_TOKENS[effort]
    return {"thinkingBudget": budget, "includeThoughts": True} if budget else {"thinkingBudget": 0}
