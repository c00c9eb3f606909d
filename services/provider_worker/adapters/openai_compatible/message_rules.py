"""What a provider takes of the messages of a chat, declared as data. Pure.

OpenAI-compatible providers differ most in what they take back of an answer. A closed schema answers 400 or 422 to a field
that it does not know, also to one that another provider or this gateway put there.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

ECHOED = frozenset(
    {
        "reasoning", "reasoning_content", "reasoning_details", "reasoning_text", "thinking", "thinking_blocks", "content_parts",
        "annotations", "citations", "search_results", "images", "refusal", "audio", "usage", "finish_reason",
        "logprobs", "index", "provider_specific_fields", "extra_content", "thought_signature", "executed_tools", "token_ids",
        "stop_reason", "matched_stop", "parsed", "tool_plan", "id", "object", "created", "model", "status", "metadata",
    }
)  # fmt: skip
"""Fields that providers, other gateways, clients and this gateway add to an answer's message. They are left out where the
provider does not take them: the caller asks for nothing by sending an answer back."""


class ReasoningForm(StrEnum):
    """In which form a provider takes the thinking of earlier turns back."""

    NONE = "none"
    CONTENT = "reasoning_content"
    """The field that DeepSeek introduced."""
    PLAIN = "reasoning"
    """The field of Groq, Together and Ollama."""
    DETAILS = "reasoning_details"
    """OpenRouter's list, beside `reasoning`."""
    CHUNKS = "thinking chunks"
    """Mistral's parts of the content."""
    UNKNOWN = "as the caller has it"
    """The server behind the address is not known: what it sent goes back, without what this gateway added."""


@dataclass(frozen=True, slots=True)
class MessageRules:
    """What chat messages may hold. The names are those of the OpenAI API reference, `messages`."""

    closed: bool = True
    """Whether a field that the provider does not know is an error."""
    fields: frozenset[str] = frozenset()
    """Fields that it knows beside role, content, name, `tool_calls` and `tool_call_id`."""
    named_roles: frozenset[str] = frozenset()
    """Roles whose messages may have a `name`."""
    name: re.Pattern[str] | None = None
    """The names that it takes, if not all."""
    reasoning: ReasoningForm = ReasoningForm.NONE
    reasoning_models: re.Pattern[str] | None = None
    """The models for which it takes thinking back, if not all."""
    reasoning_in_tool_turns: bool = False
    """Whether thinking belongs only to turns that call tools, and has to be there if the model thinks."""
    joins_text: bool = True
    """Whether a list of nothing but text parts is sent as one string."""
    media_roles: frozenset[str] | None = frozenset({"user"})
    """Roles whose content may hold more than text; null means all."""
    needs_text: bool = False
    """Whether no message may be empty or blank."""
    system_first: bool = False
    """Whether instructions stand before everything else."""
    alternates: bool = False
    """Whether user and assistant have to alternate behind the instructions, beginning and ending with the user."""
    assistant_after_tools: bool = False
    """Whether a tool's result has to be followed by the assistant."""
    marks_prefix: bool = False
    """Whether an answer to be continued is marked by `prefix`."""


OPEN = MessageRules(closed=False, reasoning=ReasoningForm.UNKNOWN, joins_text=False, media_roles=None)
"""For servers that take any field, or whose rules are not known."""
