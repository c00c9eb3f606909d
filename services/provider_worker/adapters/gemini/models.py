"""What differs between generations of Gemini models, by their names.

Source: the Gemini API's pages on thinking, structured output and thought signatures.
"""

import re

_GENERATION = re.compile(r"gemini-(\d+)(?:\.(\d+))?")
_OLD = (2, 5)
_LEVELS = (3, 0)


def generation(model: str) -> tuple[int, int] | None:
    """The version in a model's name (`gemini-2.5-flash` -> (2, 5)), or null for names without one (`gemini-flash-latest`)."""
    found = _GENERATION.search(model)
    return (int(found[1]), int(found[2] or 0)) if found else None


def takes_json_schema(model: str) -> bool:
    """Whether a model takes JSON Schema; models before 2.5 take Google's subset of OpenAPI's only."""
    version = generation(model)
    return version is None or version >= _OLD


def takes_thinking_level(model: str) -> bool:
    """Whether thinking is set by level, as for Gemini 3 and later; before that by a budget of tokens."""
    version = generation(model)
    return version is not None and version >= _LEVELS


def needs_signatures(model: str) -> bool:
    """Whether a model refuses function calls of its history without a thought signature, and takes media in results."""
    return takes_thinking_level(model)
