"""What a provider says was used, in one form for all of them. Pure."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from keyferry.contracts.money import PLACES
from keyferry.contracts.text import BIGINT_MAX, clean

_QUANTUM = Decimal(1).scaleb(-PLACES)
_LARGEST = Decimal(10**12)
_NAME_CHARACTERS = 200


class UnreadableUsage(ValueError):
    """An answer of a provider that is not of the documented form. The message may be shown."""


@dataclass(frozen=True, slots=True)
class StatedUsage:
    """One statement of a provider. Null is what it does not say, of days and models as well."""

    day: date | None = None
    model: str | None = None
    requests: int | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cost_usd: Decimal | None = None


def merge_stated(stated: Iterable[StatedUsage]) -> list[StatedUsage]:
    """Return one statement per day and model, with the sums of what is known."""
    sums: dict[tuple[date | None, str | None], StatedUsage] = {}
    for each in stated:
        found = sums.get((each.day, each.model))
        sums[each.day, each.model] = each if found is None else _add(found, each)
    return list(sums.values())


def _add(one: StatedUsage, other: StatedUsage) -> StatedUsage:
    return StatedUsage(
        day=one.day,
        model=one.model,
        requests=_sum(one.requests, other.requests),
        prompt_tokens=_sum(one.prompt_tokens, other.prompt_tokens),
        completion_tokens=_sum(one.completion_tokens, other.completion_tokens),
        cost_usd=other.cost_usd if one.cost_usd is None else one.cost_usd + (other.cost_usd or 0),
    )


def _sum(one: int | None, other: int | None) -> int | None:
    return other if one is None else min(one + (other or 0), BIGINT_MAX)


# --- reading answers


def parse_answer(text: bytes) -> dict[str, Any]:
    """Return a JSON object, its fractions as decimals. Raises UnreadableUsage."""
    try:
        answer = json.loads(text, parse_float=Decimal)
    except (ValueError, RecursionError):
        raise UnreadableUsage("the provider's answer is not JSON") from None
    if not isinstance(answer, dict):
        raise UnreadableUsage("the provider's answer is not a JSON object")
    return answer


def parts_of(answer: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    """Return a list of objects. Raises UnreadableUsage."""
    found = answer.get(name)
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise UnreadableUsage(f"the provider's answer has no list `{name}`")
    return found


def count_of(part: Mapping[str, Any], name: str) -> int:
    """Return a number of tokens or requests; 0 where it is absent or null. Raises UnreadableUsage."""
    value = part.get(name) or 0
    if isinstance(value, bool) or not isinstance(value, int | Decimal) or value < 0 or value > BIGINT_MAX or value % 1:
        raise UnreadableUsage(f"the provider's answer has no whole number as `{name}`")
    return int(value)


def amount_of(value: object) -> Decimal:
    """Return an amount that a provider writes as a number or a text, to twelve places. Raises UnreadableUsage."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal | str):
        raise UnreadableUsage("the provider's answer has no amount where one should be")
    try:
        amount = Decimal(value)
    except ArithmeticError:
        raise UnreadableUsage("the provider's answer has an amount that is no number") from None
    if not amount.is_finite() or abs(amount) >= _LARGEST:
        raise UnreadableUsage("the provider's answer has an amount that is too large")
    return amount.quantize(_QUANTUM)


def name_of(value: object) -> str | None:
    """Return the name of a model, cleaned; None for none."""
    return clean(value, _NAME_CHARACTERS) if isinstance(value, str) and value else None


def day_of_unix(value: object) -> date:
    """Return the day (UTC) of a time in Unix seconds. Raises UnreadableUsage."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**35:
        raise UnreadableUsage("the provider's answer has no time in Unix seconds where one should be")
    return datetime.fromtimestamp(value, UTC).date()


def day_of_text(value: object) -> date:
    """Return the day (UTC) of a time of RFC 3339, or of a date. Raises UnreadableUsage."""
    if isinstance(value, str) and len(value) <= 40:
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            moment = None
        if moment is not None:
            return (moment if moment.tzinfo is None else moment.astimezone(UTC)).date()
    raise UnreadableUsage("the provider's answer has no date where one should be")
