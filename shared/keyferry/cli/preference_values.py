"""Preferences as a command line writes and shows them."""

from collections.abc import Iterable
from difflib import get_close_matches

from pydantic import ValidationError

from keyferry.cli.problem import Problem
from keyferry.contracts.envelope import describe
from keyferry.contracts.preferences import EffectivePreference, GivenPreferences, PreferenceOrigin, Preferences

MAPS = ("mode_by_operation", "model_by_operation")
_LISTS = ("preferred_models", "fallback_models", "allowed_regions")
_SWITCHES = (
    "eu_only",
    "cost_optimization",
    "auto_provider_switch",
    "fallback_on_content_filter",
    "fallback_after_possible_charge",
    "learned_quality",
)
_INTEGERS = ("max_tokens", "max_tokens_per_request")
_BOOLEANS = {"true": True, "on": True, "yes": True, "false": False, "off": False, "no": False}
_SEE = f"The preferences are {', '.join(Preferences.model_fields)}"


def assign(saved: Preferences, assignments: Iterable[str]) -> GivenPreferences:
    """Return saved preferences with the assignments `NAME=VALUE` made. Raises Problem."""
    values = saved.model_dump(exclude_none=True)
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals:
            raise Problem("a preference is set as NAME=VALUE", "For example: default_model=gpt-4o")
        name, _, key = name.strip().partition(".")
        _check_name(name, key, entry=True)
        if key:
            values[name] = {**values.get(name, {}), key: text.strip()}
        else:
            values[name] = _parse(name, text.strip())
    return _checked(values)


def remove(saved: Preferences, names: Iterable[str]) -> GivenPreferences:
    """Return saved preferences without those that are named. Raises Problem, also for one that is not set."""
    values = saved.model_dump(exclude_none=True)
    for full_name in names:
        name, _, key = full_name.partition(".")
        _check_name(name, key, entry=False)
        if name not in values or (key and key not in values[name]):
            raise Problem(
                f"{full_name} is not set in this scope", "Unset it in the scope that sets it, or set another value here"
            )
        if key:
            values[name] = {other: value for other, value in values[name].items() if other != key}
        if not key or not values[name]:
            del values[name]
    return _checked(values)


def check_names(names: Iterable[str]) -> None:
    """Raise Problem for a name that is no preference."""
    for full_name in names:
        name, _, key = full_name.partition(".")
        _check_name(name, key, entry=False)


def format_value(preference: EffectivePreference) -> str:
    """Return a value for people; a dash for one that is not set."""
    value = preference.value
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "true" if value else "false"
    return ", ".join(value) if isinstance(value, list) else str(value)


def format_origin(preference: EffectivePreference) -> str:
    """Return where a value comes from, for people."""
    origin = preference.origin.value.replace("_", " ")
    if preference.origin in (PreferenceOrigin.DEFAULT, PreferenceOrigin.PLATFORM) or preference.origin_id is None:
        return origin
    return f"{origin} {preference.origin_id}"


def _check_name(name: str, key: str, *, entry: bool) -> None:
    """Check that there is such a preference, and that only a map has keys; `entry`: a map needs one."""
    if name not in Preferences.model_fields:
        close = get_close_matches(name[:60], Preferences.model_fields, 1)
        # The text is not repeated: it may be anything.
        raise Problem("there is no preference of that name", f"Did you mean {close[0]}? {_SEE}" if close else _SEE)
    if name in MAPS and entry and not key:
        raise Problem(f"{name} has a value for each operation", f"Name the operation: {name}.OPERATION=VALUE")
    if name not in MAPS and key:
        raise Problem(f"{name} has one value, and none for each operation", f"Write {name}=VALUE")


def _parse(name: str, text: str) -> object:
    """Return the value that a text means. Raises Problem; what it may be is checked afterwards."""
    if name in _LISTS:
        return [part.strip() for part in text.split(",") if part.strip()]
    if name in _SWITCHES:
        value = _BOOLEANS.get(text.lower())
        if value is None:
            raise Problem(f"{name} is true or false", f"Write {name}=true or {name}=false")
        return value
    try:
        if name in _INTEGERS:
            return int(text) if text.isascii() and len(text) <= 18 else text
        return float(text) if name == "temperature" else text
    except ValueError:
        raise Problem(
            f"{name} is a number", f"Write it in digits: {name}={'1000' if name in _INTEGERS else '0.7'}"
        ) from None


def _checked(values: dict[str, object]) -> GivenPreferences:
    try:
        return GivenPreferences.model_validate(values)
    except ValidationError as error:
        raise Problem(
            f"nothing was saved: {describe(error)}", "Correct that value; all others stay as they are"
        ) from None
