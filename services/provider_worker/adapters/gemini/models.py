"""How generations of Gemini models differ, derived from their names.

Source: the Gemini API's pages on thinking, structured output and thought signatures.
"""

import re

_GENERATION = re.compile(r"gemini-(\d+)(?:\.(\d+))?")
_OLD = (2, 5)
_LEVELS = (3, 0)


def generation(model: str) -> tuple[int, int] | None:
    """Return the version in a model's name (`gemini-2.5-flash` -> (2, 5)), or null without one (`gemini-flash-latest`)."""
    found = _GENERATION.search(model)
    return (int(found[1]), int(found[2] or 0)) if found else None


def takes_json_schema(model: str) -> bool:
    """Return whether a model takes JSON Schema; models before 2.5 take only Google's subset of OpenAPI's."""
    version = generation(model)
    return version is None or version >= _OLD


def takes_thinking_level(model: str) -> bool:
    """Return whether thinking is set by level, as for Gemini 3 and later; before that by a budget of tokens."""
    version = generation(model)
    return version is not None and version >= _LEVELS


def needs_signatures(model: str) -> bool:
    """Return whether a model rejects earlier function calls without a thought signature, and takes media in results."""
    return takes_thinking_level(model)


def combines_tools(model: str) -> bool:
    """Return whether function calls go together with a JSON answer and with Google's own tools, as from Gemini 3 on.

    Sources: the API's errors "Function calling with a response mime type: 'application/json' is unsupported" and "Tool use with
    function calling is unsupported".
    """
    version = generation(model)
    return version is None or version >= _LEVELS
