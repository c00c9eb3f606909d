"""What callers say in headers of ours: the operation, tags, and whose provider keys they would rather use. Pure."""

import re

from keyferry.contracts.chat import OwnKeys
from services.ingress.problem import Problem

_OPERATION = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_TAG = re.compile(r"([A-Za-z0-9_.-]{1,64})=([^,=\x00-\x1f]{0,256})")
_MAX_TAGS = 16
_OWN_KEYS: dict[str, OwnKeys] = {"true": "first", "false": "last", "only": "only"}


def operation(text: str | None) -> str | None:
    """The value of `X-Operation`. Raises Problem 400."""
    if text is not None and not _OPERATION.fullmatch(text):
        raise _invalid("X-Operation", "X-Operation takes 1 to 64 of A-Z a-z 0-9 _ . -")
    return text


def tags(text: str | None) -> dict[str, str]:
    """The pairs of `x-keyferry-tags`. Raises Problem 400."""
    if not text:
        return {}
    matches = [_TAG.fullmatch(part.strip()) for part in text.split(",")]
    if len(matches) > _MAX_TAGS or not all(matches):
        raise _invalid(
            "x-keyferry-tags", f"x-keyferry-tags takes up to {_MAX_TAGS} name=value pairs, separated by commas"
        )
    return {match[1]: match[2] for match in matches if match}


def own_keys(text: str | None) -> OwnKeys | None:
    """The wish of `X-Prefer-BYOK`: `true` is own keys first, `false` the platform's first, `only` own keys or none.

    It narrows what the tenant's policy allows; the router sees to that. Raises Problem 400.
    """
    if text is None:
        return None
    wish = _OWN_KEYS.get(text.strip().lower())
    if wish is None:
        raise _invalid("X-Prefer-BYOK", "X-Prefer-BYOK takes true, false or only")
    return wish


def _invalid(header: str, message: str) -> Problem:
    return Problem(400, "invalid_request_error", "invalid_header", message, param=header)
