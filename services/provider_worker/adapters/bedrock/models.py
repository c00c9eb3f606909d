"""How models on Bedrock differ in what a request may hold, derived from their ids. Pure.

Sources: the AWS documentation of each family ("Inference request parameters", "Supported models and features", "Prompt caching",
"Structured output", `ToolChoice`), Anthropic's migration guides of Claude 4.1, 4.6 and 4.7, and the errors of Converse. An id
that names no family, as that of an application's inference profile does, may stand for any model: nothing is refused to it.
"""

import re
from collections.abc import Mapping

_CLAUDE = re.compile(r"claude-(?:[a-z]+-)?(\d{1,2})(?:-(\d{1,2}))?(?!\d)")
_ENDS_WITH_USER = re.compile(r"\b(?:meta|mistral|cohere|ai21|deepseek|openai|qwen|writer)\.|titan")
_FAMILY = re.compile(
    r"(?:^|[./])(ai21|amazon|anthropic|cohere|deepseek|google|meta|minimax|mistral|moonshot|moonshotai"
    r"|nvidia|openai|qwen|writer|zai)\."
)
_OLD_MISTRAL = r"mistral-7b|mixtral|mistral-(?:large|small)-24|pixtral"
_NO_SYSTEM = re.compile(r"titan|mistral-7b|mixtral")
_NO_TOOLS = re.compile(r"titan|mistral-7b|mixtral|deepseek\.r1|jamba-instruct|claude-(?:v2|instant)|llama[23]-(?!\d-)")
_NO_STREAMED_TOOLS = re.compile(r"\bmeta\.|pixtral|mistral-large-2402|\bwriter\.")
_NO_FORCED_TOOLS = re.compile(r"titan|\b(?:meta|cohere|ai21|writer)\.|deepseek\.r1")
_NO_STRUCTURE = re.compile(
    rf"titan|nova-(?:micro|lite|pro|premier)|\b(?:meta|cohere|ai21)\.|deepseek\.r1|{_OLD_MISTRAL}"
)
_STRUCTURE_SINCE = (4, 5)
_CACHE_SINCE = (3, 5)
_FIRST_SONNET_3_5 = "claude-3-5-sonnet-20240620"
_TOP_K: Mapping[str, str] = {"cohere": "k", "mistral": "top_k", "anthropic": "top_k"}
_ADAPTIVE_SINCE = (4, 6)
_NO_SAMPLING_SINCE = (4, 7)
_NOVA_1_LIMIT_TOKENS = 10_000


def claude_version(model: str) -> tuple[int, int] | None:
    """Return the version of a Claude model, or null for another family's."""
    if "claude" not in model:
        return None
    found = _CLAUDE.search(model)
    return (int(found[1]), int(found[2] or 0)) if found else (0, 0)


def thinks_adaptively(model: str) -> bool:
    """Return whether adaptive thinking replaces a budget of tokens."""
    return (claude_version(model) or (0, 0)) >= _ADAPTIVE_SINCE


def continues_answers(model: str) -> bool:
    """Return whether a conversation may end with the beginning of the model's answer.

    Of the others, Converse "requires the last turn in the conversation to be a user message".
    """
    version = claude_version(model)
    return not _ENDS_WITH_USER.search(model) if version is None else version < _ADAPTIVE_SINCE


def takes_sampling(model: str) -> bool:
    """Return whether the model takes temperature, top_p and top_k."""
    version = claude_version(model)
    return version is None or version < _NO_SAMPLING_SINCE


def takes_one_of_temperature_and_top_p(model: str) -> bool:
    """Return whether temperature and top_p exclude each other."""
    version = claude_version(model)
    return version is not None and version >= (4, 1)


def max_output_tokens(model: str) -> int | None:
    """Return the most tokens that an answer may have, or null where the limit is not known."""
    version = claude_version(model)
    if version is None:
        return _NOVA_1_LIMIT_TOKENS if re.search(r"nova-(micro|lite|pro|premier)", model) else None
    if (3, 5) <= version < (3, 7):
        return 8192
    if version < (3, 5):
        return 4096 if version >= (3, 0) else None
    if version >= _ADAPTIVE_SINCE:
        return None
    if version < (4, 0):
        return 128_000
    return 32_000 if "opus" in model and version < (4, 5) else 64_000


def has_plain_tool_schemas(model: str) -> bool:
    """Return whether a tool's schema may hold nothing but `type`, `properties` and `required` at its root, as for Nova."""
    return "nova" in model


def family_of(model: str) -> str | None:
    """Return the vendor in a model's id, or null if the id names none."""
    if "claude" in model:
        return "anthropic"
    found = _FAMILY.search(model)
    return found[1] if found else None


def takes_system(model: str) -> bool:
    """Return whether the model takes instructions of the system."""
    return _NO_SYSTEM.search(model) is None


def takes_tools(model: str, *, stream: bool) -> bool:
    """Return whether the model calls tools: some do not in a stream."""
    return _NO_TOOLS.search(model) is None and not (stream and _NO_STREAMED_TOOLS.search(model))


def takes_forced_tools(model: str) -> bool:
    """Return whether `toolChoice` may force a call."""
    return _NO_FORCED_TOOLS.search(model) is None


def takes_named_tool(model: str) -> bool:
    """Return whether `toolChoice` may name the tool: of those that can be forced, Mistral's take `any` only."""
    return family_of(model) != "mistral"


def has_structured_outputs(model: str) -> bool:
    """Return whether Bedrock holds the model to a schema."""
    version = claude_version(model)
    return _NO_STRUCTURE.search(model) is None if version is None else version >= _STRUCTURE_SINCE


def takes_cache_points(model: str) -> bool:
    """Return whether the model has a prompt cache. Converse answers 403 to a cache point for any other."""
    version = claude_version(model)
    if version is not None:
        return version >= _CACHE_SINCE and _FIRST_SONNET_3_5 not in model
    return family_of(model) is None or "nova" in model


def takes_tool_cache_points(model: str) -> bool:
    """Return whether tools may be followed by a cache point too, as for Claude."""
    return "nova" not in model


def top_k_field(model: str) -> str | None:
    """Return the name of top_k among the model's own fields, or null if it has none."""
    family = family_of(model)
    return "top_k" if family is None else _TOP_K.get(family)
