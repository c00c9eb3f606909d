"""The filter syntax of model lists: `eu,recommended:chat,provider:openai`. Pure."""

import re

_OPERATION = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_PROVIDER = re.compile(r"[a-z0-9_-]{1,63}")
"""As in `ids.Operation` and `ids.ProviderName`."""


class InvalidFilter(Exception):
    """The text has an invalid filter."""


def filters_in(text: str) -> dict[str, object]:
    """Return the fields of `ListModels` that a comma-separated filter sets; the last of a kind wins. Raises InvalidFilter.

    A part is `eu`, `recommended` (for any operation) or `recommended:OPERATION`, and `provider:NAME`.
    """
    fields: dict[str, object] = {}
    for part in text.split(","):
        name, _, value = part.strip().partition(":")
        if name == "eu" and not value:
            fields["eu"] = True
        elif name == "recommended" and _OPERATION.fullmatch(value or "any"):
            fields["recommended"] = value or "any"
        elif name == "provider" and _PROVIDER.fullmatch(value):
            fields["provider"] = value
        else:
            raise InvalidFilter
    return fields
