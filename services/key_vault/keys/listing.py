"""Which of a tenant's keys a list has: filters, search and paging. Pure."""

from collections.abc import Iterable, Sequence

from keyferry.contracts.key import ListKeys, ProviderKey, ProviderKeys


def select_keys(stored: Sequence[ProviderKey], query: ListKeys) -> ProviderKeys:
    """Return the part of a tenant's keys, in the order of their use, that a query asks for."""
    matching = [key for key in stored if _matches(key, query)]
    start, found = 0, True
    if query.after is not None:
        positions = [position for position, key in enumerate(matching) if key.key_id == query.after]
        found = bool(positions)
        start = positions[0] + 1 if found else len(matching)
    end = len(matching) if query.limit is None else start + query.limit
    chosen = matching[start:end]
    return ProviderKeys(
        keys=[_shorten(key) for key in chosen] if query.brief else chosen,
        more=end < len(matching),
        after_found=found,
    )


def _matches(key: ProviderKey, query: ListKeys) -> bool:
    return (
        (query.created_by is None or query.created_by in (key.created_by, key.rotated_by))
        and (query.key_id is None or key.key_id == query.key_id)
        and (query.provider is None or key.provider == query.provider)
        and (query.status is None or key.status is query.status)
        and (query.text is None or _contains(key, query.text.casefold()))
    )


def _contains(key: ProviderKey, text: str) -> bool:
    searched: Iterable[str | None] = (
        key.label,
        key.key_id,
        key.masked,
        key.fingerprint,
        key.name,
        key.team,
        key.member,
    )
    return any(text in value.casefold() for value in searched if value is not None)


def _shorten(key: ProviderKey) -> ProviderKey:
    return key.model_copy(update={"models": [], "fields": {}, "last_test": None, "unlisted_models": []})
