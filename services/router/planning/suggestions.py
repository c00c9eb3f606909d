"""What to ask for instead of a model name that leads nowhere. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from functools import lru_cache
from heapq import nlargest
from itertools import islice, pairwise

from keyferry.contracts.key import KeyFacts
from keyferry.contracts.providers import NAMED_BY_TENANT
from services.router.planning.context import RoutingContext
from services.router.planning.provider_keys import check_key, describe_key

_MAX_COUNTED = 400
_MAX_COMPARED = 8
_MAX_CHARACTERS = 40
"""Comparing two names takes time with the square of their length; a key may list thousands, of 200 characters each."""
MAX_SUGGESTED = 3
_SIMILARITY = 0.7
_FINE_TUNED = "ft:"


def suggest_names(name: str, known: Iterable[str]) -> str:
    """Return the most similar of the known names as a question with a space before it; empty if none is similar."""
    return ask_for(similar_names(name, known)[:MAX_SUGGESTED])


def ask_for(names: Sequence[str]) -> str:
    """Return the question whether these names are meant, with a space before it; empty without any."""
    return f" Did you mean {' or '.join(names)}?" if names else ""


def similar_names(name: str, known: Iterable[str]) -> list[str]:
    """Return the known names that are similar, the most similar first."""
    if len(name) > _MAX_CHARACTERS:
        return []
    short = (each for each in dict.fromkeys(known) if len(each) <= _MAX_CHARACTERS)
    pairs = _pairs(name)
    # Pairs of characters in common are counted a hundred times as fast as names are compared.
    counted = (
        (len(pairs & _pairs(each)) / (len(pairs) + len(_pairs(each)) or 1), each)
        for each in islice(short, _MAX_COUNTED)
    )
    likely = [each for _, each in nlargest(_MAX_COMPARED, counted)]
    return get_close_matches(name, likely, _MAX_COMPARED, _SIMILARITY)


@lru_cache(maxsize=4096)
def _pairs(name: str) -> frozenset[str]:
    """Return the pairs of characters that follow each other in a name."""
    return frozenset(map("".join, pairwise(name)))


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
