"""How models on Bedrock differ in what a request may hold, derived from their ids. Pure.

Sources: the AWS documentation of each family ("Inference request parameters", "Supported models and features"), Anthropic's
migration guides of Claude 4.1, 4.6 and 4.7, and the errors of Converse.
"""

import re

_CLAUDE = re.compile(r"claude-(?:[a-z]+-)?(\d{1,2})(?:-(\d{1,2}))?(?!\d)")
_ENDS_WITH_USER = re.compile(r"\b(?:meta|mistral|cohere|ai21|deepseek|openai|qwen|writer)\.|titan")
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
