"""Validation of a new key before its test, and what may be shown of a key. Pure."""

from collections.abc import Sequence

from keyferry.contracts.key import KeyFacts, ProviderKey
from keyferry.contracts.providers import (
    PROVIDERS,
    SELF_HOSTED,
    ImplausibleKey,
    InvalidServerName,
    check_format,
    check_server_name,
)
from keyferry.contracts.secret import Secret
from keyferry.contracts.service import ErrorCode
from services.key_vault.database.errors import RequestRejected

_ELLIPSIS = "…"
_TAIL = 4
_SHORT_HEAD, _LONG_HEAD = 3, 8
_MAX_NAMED = 8
_SHOWN_SHARE = 3
"""At most one in this many characters of a key is shown."""


def check_plausible(provider: str, key: Secret) -> None:
    """Check that the text can be a key of `provider`. Raises RequestRejected, which repeats no part of it."""
    try:
        check_format(provider, key.reveal())
    except ImplausibleKey as error:
        raise RequestRejected(ErrorCode.INVALID, f"{error}; nothing was stored or sent to the provider") from None


def warn_of_format(provider: str, key: Secret) -> str | None:
    """Return what is unusual about the form of a stored or plausible key."""
    try:
        return check_format(provider, key.reveal())
    except ImplausibleKey as error:
        # It was stored when the rules were others.
        return str(error)


def check_not_duplicate(same: Sequence[ProviderKey], replaced_id: str | None = None) -> None:
    """Check that no stored key has the same fingerprint. Raises RequestRejected naming the one that has.

    `same` are the tenant's keys of the provider with that fingerprint; `replaced_id` is the key that is being rotated.
    """
    for stored in same:
        if stored.key_id == replaced_id:
            raise RequestRejected(
                ErrorCode.CONFLICT,
                f"this is the key that {stored.key_id} ({stored.label}) holds now: make a new one at"
                f" {PROVIDERS.describe(stored.provider).key_url or 'the provider'} to rotate",
            )
        raise RequestRejected(
            ErrorCode.CONFLICT,
            f"this key is stored already, as {stored.key_id} ({stored.label}, {stored.status}): edit or rotate that one",
        )


def check_server(key: ProviderKey, stored: Sequence[ProviderKey]) -> None:
    """Check the name of the key's server against the tenant's other keys. Raises RequestRejected.

    A name stands for one server of the tenant, which may have several keys; and so does the provider's own name for keys
    without one, or a request for `custom/MODEL` would reach now this server and now that.
    """
    if key.name is not None:
        try:
            check_server_name(key.provider, key.name)
        except InvalidServerName as error:
            raise RequestRejected(ErrorCode.INVALID, f"{error}; nothing was stored") from None
    for other in stored:
        if names_another_server(key, other):
            what = key.name or f"{key.provider}, without a name,"
            raise RequestRejected(
                ErrorCode.CONFLICT,
                f"{what} already stands for the server of {other.key_id} ({other.label}), which has another address: give"
                " this key another name (--name NAME), and call its models as NAME/MODEL; nothing was stored",
            )


def names_another_server(key: ProviderKey, other: ProviderKey) -> bool:
    """Return whether two keys of a tenant are for different servers that requests would name alike."""
    if other.key_id == key.key_id or other.name != key.name:
        return False
    same_name = key.name is not None or (other.provider == key.provider and key.provider in SELF_HOSTED)
    return same_name and (other.provider, other.base_url) != (key.provider, key.base_url)


def find_unlisted(key: ProviderKey) -> list[str]:
    """Return the models that a key may be used for and that its provider did not list at the last test.

    A name of the catalog may be shorter than the provider's: without its maker's prefix, a date or a variant.
    """
    listed = [name.lower().rpartition("/")[2] for name in key.models]
    if not listed:
        return []
    return [
        name
        for name in key.allowed_models or ()
        if not any(known == (tail := _short_name(key, name)) or known.startswith(f"{tail}-") for known in listed)
    ]


def check_models(key: ProviderKey) -> None:
    """Check that the tenant's own server has the models that its key is for. Raises RequestRejected.

    Other providers have names for their models beside those that they list.
    """
    unlisted = find_unlisted(key) if key.provider in SELF_HOSTED else []
    if unlisted:
        listed = ", ".join(key.models[:_MAX_NAMED]) + (", …" if len(key.models) > _MAX_NAMED else "")
        raise RequestRejected(
            ErrorCode.INVALID,
            f"the server does not list {', '.join(unlisted[:_MAX_NAMED])}, so nothing was stored; it lists {listed}. Correct"
            " the model, or store the key all the same (--save-untested, or `save_untested: true`)",
        )


def _short_name(key: ProviderKey, name: str) -> str:
    return name.removeprefix(f"{key.name or key.provider}/").lower().rpartition("/")[2]


def mask(provider: str, key: Secret) -> str:
    """Return what may be shown of a key: the prefix that identifies its kind and its last characters, as in `sk-…A9f2`.

    It shows at most a third of the characters, so that a short key stays unguessable.
    """
    text = key.reveal()
    budget = len(text) // _SHOWN_SHARE
    tail = min(_TAIL, budget)
    head = min(_head_length(provider, text), budget - tail)
    return f"{text[:head]}{_ELLIPSIS}{text[len(text) - tail :]}"


def sort_by_use(keys: Sequence[ProviderKey]) -> list[ProviderKey]:
    """Sort keys by provider, then in the order of their use: by priority, the heavier first, then the older."""
    return sorted(keys, key=lambda key: (key.provider, key.priority, -key.weight, key.created_at, key.key_id))


def choose_test_model(facts: KeyFacts) -> str | None:
    """Return the model for the last step of a key's test; null lets the worker choose from the provider's list.

    A key restricted to some models is tested with the first of them.
    """
    if facts.allowed_models:
        name = facts.allowed_models[0]
        return name.removeprefix(f"{facts.name or facts.provider}/")
    return PROVIDERS.describe(facts.provider).test_model


def _head_length(provider: str, text: str) -> int:
    matches = [len(prefix) for prefix in PROVIDERS.describe(provider).prefixes if text.startswith(prefix)]
    return min(max(matches, default=_SHORT_HEAD), _LONG_HEAD)
