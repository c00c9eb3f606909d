"""Reads exactly how much money providers report as left for a key. Nothing here raises for what a provider sends.

Sources: OpenRouter's "Get current API key" (`limit_remaining`, null without a limit) and "Get remaining credits"
(`total_credits` and `total_usage`); DeepSeek's "Get user balance" (`balance_infos`, a row per currency). Pure.
"""

import json
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Context, Decimal

from keyferry.contracts.money import PLACES, WHOLE_DIGITS
from services.provider_worker.adapters.response.json_text import JsonObject, as_object, as_objects

MAX_CREDIT_BYTES = 64 * 1024
_QUANTUM = Decimal(1).scaleb(-PLACES)
_MAX_DIGITS = 40
"""Longer numbers are not amounts of money, and slow to parse."""
_EXACT = Context(prec=2 * _MAX_DIGITS, rounding=ROUND_FLOOR)
"""Wide enough for every amount that `_parse_amount` accepts."""


@dataclass(frozen=True, slots=True)
class Credit:
    """What is left. `left_usd` is null if not reported in dollars; `enough` if nothing is reported."""

    left_usd: Decimal | None = None
    enough: bool | None = None


UNKNOWN = Credit()


def read_credit(body: bytes) -> Credit | None:
    """Read a response about a key's money; null if it is not one."""
    document = _parse_exactly(body)
    if document is None:
        return None
    data = document.get("data")
    if isinstance(data, dict):
        return _credit_from_amount(_read_openrouter(data))
    if isinstance(document.get("balance_infos"), list):
        return _read_deepseek(document)
    return None


def combine_credit(one: Credit, other: Credit) -> Credit:
    """Combine a key's own limit and its account's balance: the stricter wins."""
    amounts = [credit.left_usd for credit in (one, other) if credit.left_usd is not None]
    known = [credit.enough for credit in (one, other) if credit.enough is not None]
    return Credit(min(amounts, default=None), all(known) if known else None)


def _read_openrouter(data: JsonObject) -> Decimal | None:
    remaining = _parse_amount(data.get("limit_remaining"))
    if remaining is not None:
        return remaining
    bought, used = _parse_amount(data.get("total_credits")), _parse_amount(data.get("total_usage"))
    return None if bought is None or used is None else _EXACT.subtract(bought, used)


def _read_deepseek(document: JsonObject) -> Credit:
    rows = as_objects(document.get("balance_infos"))
    dollars = [
        amount
        for row in rows
        if row.get("currency") == "USD"
        if (amount := _parse_amount(row.get("total_balance"))) is not None
    ]
    available = document.get("is_available")
    left = _credit_from_amount(dollars[0] if dollars else None)
    return Credit(left.left_usd, available if isinstance(available, bool) else left.enough)


def _credit_from_amount(amount: Decimal | None) -> Credit:
    if amount is None:
        return UNKNOWN
    # Providers send floats with more decimal places than are kept here; the remainder is rounded down.
    return Credit(_EXACT.quantize(amount, _QUANTUM), amount > 0)


def _parse_amount(value: object) -> Decimal | None:
    """Return `value` as an amount that the gateway can calculate with; null for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | str | Decimal):
        return None
    if isinstance(value, str) and len(value) > _MAX_DIGITS:
        return None
    try:
        amount = Decimal(value)
    except ArithmeticError:
        return None
    if not amount.is_finite() or not -_MAX_DIGITS < amount.adjusted() < WHOLE_DIGITS - 1:
        return None
    return amount


def _parse_exactly(body: bytes) -> JsonObject | None:
    """Return the JSON object in `body`, its numbers as the decimals they are written as."""
    if len(body) > MAX_CREDIT_BYTES:
        return None
    try:
        document: object = json.loads(
            body, parse_float=_parse_number, parse_int=_parse_number, parse_constant=lambda _: None
        )
    except (ValueError, RecursionError):
        return None
    return as_object(document) if isinstance(document, dict) else None


def _parse_number(text: str) -> Decimal | None:
    try:
        return Decimal(text) if len(text) <= _MAX_DIGITS else None
    except ArithmeticError:
        return None
