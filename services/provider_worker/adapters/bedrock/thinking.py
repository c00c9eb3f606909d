"""Translates the reasoning effort to the fields of each model family: Converse has no common field for it.

Source: the AWS documentation of each family ("Extended thinking", "Adaptive thinking", Amazon Nova 2 `reasoningConfig`,
OpenAI gpt-oss), and Anthropic's of adaptive thinking, which replaces token budgets from Claude 4.6 on.
"""

from collections.abc import Mapping

from services.provider_worker.adapters.bedrock.conversation import Conversation
from services.provider_worker.adapters.bedrock.models import thinks_adaptively
from services.provider_worker.adapters.openai_format.fields import CallerFields
from services.provider_worker.adapters.openai_format.tools import ToolChoice
from services.provider_worker.adapters.response.json_text import JsonObject

_BUDGET_TOKENS: Mapping[str, int] = {
    "minimal": 1024,
    "low": 2048,
    "medium": 8192,
    "high": 16384,
    "xhigh": 24576,
    "max": 31999,
}
"""The most tokens that an effort may think, for models that take a budget. Our choice: OpenAI does not define it."""
MIN_BUDGET_TOKENS = 1024
"""Claude's smallest budget."""

_THREE: Mapping[str, str] = {
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "high",
    "max": "high",
}
_ADAPTIVE: Mapping[str, str] = {**_THREE, "xhigh": "max", "max": "max"}


def find_unthinkable(model: str, conversation: Conversation, choice: ToolChoice) -> str | None:
    """Return why Claude cannot be asked to think here, if it cannot. Source: Anthropic's documentation of extended thinking."""
    if "claude" not in model:
        return None
    if choice.mode in ("required", "function"):
        return "Claude cannot think where a tool call is forced."
    if thinks_adaptively(model):
        return None
    if conversation.calls_without_thinking:
        return "The tool calls under way were made without thinking, and Claude cannot begin to think in between."
    if conversation.prefilled is not None:
        return "Claude cannot think where `messages` end with the beginning of its answer."
    return None


def build_thinking_fields(
    fields: CallerFields, model: str, effort: str, max_tokens: int | None
) -> tuple[JsonObject, JsonObject]:
    """Return `additionalModelRequestFields` and `outputConfig` for this effort.

    Raises RefusedByAdapter for models that cannot think.
    """
    if effort == "none" and "claude" in model:
        return {}, {}
    if "claude" in model:
        return _build_claude_fields(fields, model, effort, max_tokens)
    if "nova-2" in model:
        if effort == "none":
            return {"reasoningConfig": {"type": "disabled"}}, {}
        return {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": _THREE[effort]}}, {}
    if "gpt-oss" in model and effort != "none":
        return {"reasoning_effort": _THREE[effort]}, {}
    if effort != "none":
        fields.drop_or_reject("reasoning_effort", "This model of AWS Bedrock has no `reasoning_effort`.")
    return {}, {}


def _build_claude_fields(
    fields: CallerFields, model: str, effort: str, max_tokens: int | None
) -> tuple[JsonObject, JsonObject]:
    if thinks_adaptively(model):
        return {"thinking": {"type": "adaptive"}}, {"effort": _ADAPTIVE[effort]}
    budget_tokens = _BUDGET_TOKENS[effort]
    if max_tokens is not None:
        # Thinking counts against the completion's limit; half of it is left for the answer.
        budget_tokens = min(budget_tokens, max(max_tokens // 2, MIN_BUDGET_TOKENS))
        if max_tokens <= budget_tokens:
            fields.drop_or_reject(
                "reasoning_effort",
                f"This model thinks with at least {MIN_BUDGET_TOKENS} tokens, and `max_tokens` leaves no more than that.",
            )
            return {}, {}
    return {"thinking": {"type": "enabled", "budget_tokens": budget_tokens}}, {}
