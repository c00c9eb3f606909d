"""The request headers that Keyferry defines: operation, tags, preferred provider keys, power level, conversation. Pure."""

import re

from keyferry.contracts.chat import OwnKeys
from keyferry.contracts.features import PowerLevel
from keyferry.contracts.ids import MAX_TAGS
from keyferry.contracts.misplaced_key import may_be_key
from keyferry.contracts.text import NOT_A_KEY, is_safe
from keyferry.runtime.http.problem import INVALID_REQUEST, HttpProblem

_OPERATION = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_TAG = re.compile(r"([A-Za-z0-9_.-]{1,64})=([^,=]{0,256})")
_OWN_KEYS: dict[str, OwnKeys] = {"true": "first", "false": "last", "only": "only"}


def parse_operation(text: str | None) -> str | None:
    """Check the value of `X-Operation`. Raises HttpProblem 400."""
    if text is not None and not _OPERATION.fullmatch(text):
        raise _invalid("X-Operation", "X-Operation takes 1 to 64 of A-Z a-z 0-9 _ . -")
    _refuse_key("X-Operation", text or "")
    return text


def parse_tags(text: str | None) -> dict[str, str]:
    """Return the pairs of `x-keyferry-tags`. Raises HttpProblem 400."""
    if not text:
        return {}
    text = _decode(text)
    matches = [_TAG.fullmatch(part.strip(" \t")) for part in text.split(",")]
    if len(matches) > MAX_TAGS or not all(matches) or not is_safe(text):
        raise _invalid(
            "x-keyferry-tags",
            f"x-keyferry-tags takes up to {MAX_TAGS} name=value pairs, separated by commas, without control characters",
        )
    _refuse_key("x-keyferry-tags", text)
    return {match[1]: match[2] for match in matches if match}


def parse_key_preference(text: str | None) -> OwnKeys | None:
    """Return the preference in `X-Prefer-BYOK`: `true` is own keys first, `false` the platform's first, `only` own keys only.

    The router applies it within what the tenant's policy allows. Raises HttpProblem 400.
    """
    if text is None:
        return None
    preference = _OWN_KEYS.get(text.strip().lower())
    if preference is None:
        raise _invalid("X-Prefer-BYOK", "X-Prefer-BYOK takes true, false or only")
    return preference


def parse_explain(text: str | None) -> bool:
    """Return whether `X-Keyferry-Explain` asks for the decision in the answer. Raises HttpProblem 400."""
    wish = "false" if text is None else text.strip().lower()
    if wish not in ("true", "false"):
        raise _invalid("X-Keyferry-Explain", "X-Keyferry-Explain takes true or false")
    return wish == "true"


def parse_power_level(text: str | None) -> PowerLevel | None:
    """Return the level in `X-Power-Level`. Raises HttpProblem 400, which names the levels."""
    if text is None:
        return None
    try:
        return PowerLevel(text.strip().lower())
    except ValueError:
        raise _invalid("X-Power-Level", f"X-Power-Level takes {', '.join(PowerLevel)}") from None


def parse_conversation(text: str | None) -> str | None:
    """Check the value of `X-Conversation-Id`. Raises HttpProblem 400."""
    if text is not None and not _OPERATION.fullmatch(text):
        raise _invalid("X-Conversation-Id", "X-Conversation-Id takes 1 to 64 of A-Z a-z 0-9 _ . -")
    _refuse_key("X-Conversation-Id", text or "")
    return text


def _refuse_key(header: str, text: str) -> None:
    if may_be_key(text):
        raise _invalid(header, f"{header} should be {NOT_A_KEY}")


def _decode(latin_1: str) -> str:
    """Return the text of a header that a client sent as UTF-8; Latin-1 where it is not."""
    try:
        return latin_1.encode("latin-1").decode()
    except UnicodeError:
        return latin_1


def _invalid(header: str, message: str) -> HttpProblem:
    return HttpProblem(400, INVALID_REQUEST, "invalid_header", message, param=header)
