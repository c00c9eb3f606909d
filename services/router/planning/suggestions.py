"""What to ask for instead of a model name that leads nowhere. Pure."""

from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from itertools import islice

from keyferry.contracts.key import KeyFacts
from keyferry.contracts.providers import NAMED_BY_TENANT
from services.router.planning.context import RoutingContext
from services.router.planning.provider_keys import check_key, describe_key

_MAX_COMPARED = 80
_MAX_CHARACTERS = 40
"""Comparing two names takes time with the square of their length; a key may list thousands, of 200 characters each."""
_MAX_SUGGESTED = 3
_SIMILARITY = 0.7
_FINE_TUNED = "ft:"


def suggest_names(name: str, known: Iterable[str]) -> str:
    """Return the most similar of the known names as a question with a space before it; empty if none is similar."""
    if len(name) > _MAX_CHARACTERS:
        return ""
    short = (each for each in dict.fromkeys(known) if len(each) <= _MAX_CHARACTERS)
    names = list(islice(short, _MAX_COMPARED))
    close = get_close_matches(name, names, _MAX_SUGGESTED, _SIMILARITY)
    return f" Did you mean {' or '.join(close)}?" if close else ""


def suggest_key(name: str, context: RoutingContext) -> str:
    """Return how an own key can be used for a name outside the catalog, with a space before it; empty if none can.

    The name alone does not say whose model it is: `PROVIDER/NAME` does, where the key lists it or may do so when tested again.
    """
    usable = [key for keys in context.own_keys.values() for key in keys if check_key(key, context) is None]
    for key in usable:
        if name in key.models:
            return (
                f" {_capitalize(describe_key(key))} lists it: ask for {_prefix(key)}/{name}{_permission(key, context)}."
            )
    for provider in _providers_of_family(name, context):
        for key in usable:
            if key.provider == provider:
                return (
                    f" If {describe_key(key)} may call it, ask for {_prefix(key)}/{name}, after `keyferry keys test"
                    f" {key.key_id} --tenant {key.tenant}` has refreshed the list of its models{_permission(key, context)}."
                )
    return ""


def _providers_of_family(name: str, context: RoutingContext) -> Iterator[str]:
    """Yield the providers of the model that a longer name begins with, or that a fine-tuned one is made from."""
    base = name.removeprefix(_FINE_TUNED).partition(":")[0]
    known = context.resolve(base).model
    if known is None:
        families = [model for model in context.catalog if base.startswith(f"{model.id}-")]
        known = max(families, key=lambda model: len(model.id), default=None)
    if known is not None:
        yield from dict.fromkeys(offering.provider for offering in known.offerings)


def _permission(key: KeyFacts, context: RoutingContext) -> str:
    """Return what else the tenant's own policy requires for a model outside the catalog."""
    if key.provider in NAMED_BY_TENANT or context.tenant is None or context.tenant.allow_unapproved:
        return ""
    return (
        ", once the tenant allows models outside the catalog"
        f" (`keyferry tenants set {context.tenant.tenant} --allow-unapproved`)"
    )


def _prefix(key: KeyFacts) -> str:
    return key.name or key.provider


def _capitalize(text: str) -> str:
    return text[:1].upper() + text[1:]
