"""Handlers of the operator's changes of models, providers and prices. Each is stored, published and audited as one."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

from keyferry.contracts.addresses import AddressPolicy
from keyferry.contracts.audit_changes import describe_changes
from keyferry.contracts.catalog import CatalogModel
from keyferry.contracts.catalog_edits import (
    CatalogState,
    CatalogStates,
    ListCatalog,
    RemoveModel,
    RestoreModel,
    RetireModel,
    SaveCatalogModel,
)
from keyferry.contracts.envelope import Message
from keyferry.contracts.price_edits import (
    ListPriceEntries,
    PriceEntries,
    PriceEntry,
    RemovePrice,
    SavedPrice,
    SetPrice,
)
from keyferry.contracts.provider_edits import (
    ListProviders,
    ProviderEntry,
    ProviderState,
    ProviderStates,
    RestoreProvider,
    RetireProvider,
    SaveProvider,
)
from keyferry.contracts.providers import PROVIDERS
from keyferry.contracts.routing_management import (
    CATALOG_LIST,
    CATALOG_REMOVE,
    CATALOG_RESTORE,
    CATALOG_RETIRE,
    CATALOG_SAVE,
    PRICE_LIST,
    PRICE_REMOVE,
    PRICE_SET,
    PROVIDER_LIST,
    PROVIDER_RESTORE,
    PROVIDER_RETIRE,
    PROVIDER_SAVE,
)
from keyferry.contracts.service import ErrorCode
from keyferry.pricing.book import PriceBook
from keyferry.pricing.file import PriceList
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.bus.requests import Refused
from services.router.catalog.editing import CatalogEditor, Change, ModelChange, RefusedChange, Stored
from services.router.catalog.lookup import Catalog
from services.router.catalog.overlay import providers_in_force
from services.router.catalog.pricing import check_removal, price_entry, warnings
from services.router.catalog.provider_urls import check_base_url, check_link
from services.router.catalog.store import CatalogTransaction, PostgresCatalogStore
from services.router.outage import refuse_outages

_UNKNOWN_WRITE = "so it is unknown whether the change was made: list what there is before you try again"
_UNREAD = "so it cannot list this: try again in a moment"
Decide = Callable[[CatalogEditor, Change], ModelChange]
FindUses = Callable[[Callable[[str], bool]], list[str]]
"""Returns which rules and preferences name a model, given whether a name means it."""

_BOOKKEEPING = {"revision", "changed_at", "changed_by", "effective"}


class CatalogHandlers:
    """Answers the operator's requests about models, providers and prices."""

    def __init__(
        self,
        store: PostgresCatalogStore,
        bundled: Sequence[CatalogModel],
        listed: PriceList,
        policy: AddressPolicy,
        find_uses: FindUses = lambda is_model: [],
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._store = store
        self._bundled = bundled
        self._listed = listed
        self._policy = policy
        self._find_uses = find_uses
        self._clock = clock

    def register(self, bus: Bus) -> None:
        """Subscribe to the requests. Call before the bus is started."""
        bus.respond(CATALOG_LIST, self.list_models)
        bus.respond(CATALOG_SAVE, self.save_model)
        bus.respond(CATALOG_RETIRE, self.retire_model)
        bus.respond(CATALOG_RESTORE, self.restore_model)
        bus.respond(CATALOG_REMOVE, self.remove_model)
        bus.respond(PROVIDER_LIST, self.list_providers)
        bus.respond(PROVIDER_SAVE, self.save_provider)
        bus.respond(PROVIDER_RETIRE, self.retire_provider)
        bus.respond(PROVIDER_RESTORE, self.restore_provider)
        bus.respond(PRICE_LIST, self.list_prices)
        bus.respond(PRICE_SET, self.set_price)
        bus.respond(PRICE_REMOVE, self.remove_price)

    async def list_models(self, command: ListCatalog) -> CatalogStates:
        """Return the whole catalog, as it is stored."""
        with _refuse(_UNREAD):
            return CatalogStates(models=CatalogEditor(self._bundled, await self._store.stored()).states())

    async def save_model(self, command: SaveCatalogModel) -> CatalogState:
        """Add or replace a model."""
        details = {"tier": command.model.tier.value, "offerings": str(len(command.model.offerings))}
        return await self._change_model(
            command.actor,
            "model.save",
            command.model.id,
            lambda editor, change: editor.save(command, change),
            {**details, **({"default": "true"} if command.model.default else {})},
        )

    async def retire_model(self, command: RetireModel) -> CatalogState:
        """Retire a model."""
        details = {"replacement": command.replacement or "", "served": str(command.serve_replacement).lower()}
        before: list[Catalog] = []

        def decide(editor: CatalogEditor, change: Change) -> ModelChange:
            before.append(editor.catalog)
            return editor.retire(command, change)

        state = await self._change_model(command.actor, "model.retire", command.id, decide, details)
        uses = self._find_uses(lambda name: _means(before[-1], name, state.model.id))
        return state.model_copy(update={"warnings": uses})

    async def restore_model(self, command: RestoreModel) -> CatalogState:
        """Offer a retired model again."""
        return await self._change_model(
            command.actor, "model.restore", command.id, lambda editor, change: editor.restore(command, change)
        )

    async def remove_model(self, command: RemoveModel) -> CatalogState:
        """Undo every change of a model, and return what it is now; for a model that is gone, what it was."""
        return await self._change_model(
            command.actor, "model.remove", command.id, lambda editor, change: editor.remove(command)
        )

    async def list_providers(self, command: ListProviders) -> ProviderStates:
        """Return every provider, as it is stored."""
        with _refuse(_UNREAD):
            return ProviderStates(providers=_provider_states(await self._store.stored()))

    async def save_provider(self, command: SaveProvider) -> ProviderState:
        """Add or replace a provider."""
        with _refuse(_UNKNOWN_WRITE):
            base_url = check_base_url(command.base_url, self._policy)
            for link in (command.key_url, command.docs_url):
                check_link(link)
            async with self._store.change() as transaction:
                stored = await transaction.stored()
                editor = CatalogEditor(self._bundled, stored)
                change = await self._new_change(transaction, command.actor)
                entry = editor.save_provider(command, base_url, change)
                await transaction.put_provider(entry.name, entry)
                changes = _changes(stored.providers.get(entry.name), entry)
                await transaction.audit(command.actor, "provider.save", entry.name, changes)
        return _provider_state(entry.name, entry)

    async def retire_provider(self, command: RetireProvider) -> ProviderState:
        """Retire a provider."""
        with _refuse(_UNKNOWN_WRITE):
            async with self._store.change() as transaction:
                stored = await transaction.stored()
                editor = CatalogEditor(self._bundled, stored)
                change = await self._new_change(transaction, command.actor)
                entry = editor.retire_provider(command, change)
                await transaction.put_provider(entry.name, entry)
                changes = _changes(stored.providers.get(entry.name), entry)
                await transaction.audit(command.actor, "provider.retire", entry.name, changes)
        return _provider_state(entry.name, entry)

    async def restore_provider(self, command: RestoreProvider) -> ProviderState:
        """Use a retired provider again."""
        with _refuse(_UNKNOWN_WRITE):
            async with self._store.change() as transaction:
                stored = await transaction.stored()
                editor = CatalogEditor(self._bundled, stored)
                change = await self._new_change(transaction, command.actor)
                entry = editor.restore_provider(command, change)
                await transaction.put_provider(command.name, entry)
                changes = _changes(stored.providers.get(command.name), entry)
                await transaction.audit(command.actor, "provider.restore", command.name, changes)
        return _provider_state(command.name, entry)

    async def list_prices(self, command: ListPriceEntries) -> PriceEntries:
        """Return the prices that operators set."""
        with _refuse(_UNREAD):
            prices = await self._store.prices()
        return PriceEntries(
            prices=[
                price
                for price in prices
                if command.provider in (None, price.provider) and command.model in (None, price.model)
            ]
        )

    async def set_price(self, command: SetPrice) -> SavedPrice:
        """Set a price from a moment on."""
        with _refuse(_UNKNOWN_WRITE):
            async with self._store.change() as transaction:
                stored, prices = await transaction.stored(), await transaction.prices()
                book = PriceBook(self._listed)
                book.install(prices)
                providers = providers_in_force(stored.providers.values())
                change = await self._new_change(transaction, command.actor)
                entry = price_entry(command, prices, book, providers, change)
                await transaction.put_price(entry)
                details = _price_facts(entry) | _changes(_price_before(entry, prices), entry)
                await transaction.audit(command.actor, "price.set", _place(entry), details)
            catalog = CatalogEditor(self._bundled, stored).catalog
        return SavedPrice(**dict(entry), warnings=warnings(entry, catalog))

    async def remove_price(self, command: RemovePrice) -> PriceEntry:
        """Remove a price; what was priced with it stays as it is."""
        effective = (
            command.effective.astimezone(UTC) if command.effective.tzinfo else command.effective.replace(tzinfo=UTC)
        )
        with _refuse(_UNKNOWN_WRITE):
            async with self._store.change() as transaction:
                removed = await transaction.remove_price(command.provider, command.model, effective)
                if removed is None:
                    raise RefusedChange(
                        ErrorCode.NOT_FOUND,
                        "there is no price of that provider, model and moment (`keyferry prices list` shows all of them)",
                    )
                left, book = await transaction.prices(), PriceBook(self._listed)
                book.install(left)
                check_removal(removed, left, book, self._clock())
                details = _price_facts(removed) | _changes(removed, None)
                await transaction.audit(command.actor, "price.remove", _place(removed), details)
        return removed

    async def _change_model(
        self, actor: str, action: str, name: str, decide: Decide, details: Mapping[str, str] | None = None
    ) -> CatalogState:
        with _refuse(_UNKNOWN_WRITE):
            async with self._store.change() as transaction:
                stored = await transaction.stored()
                editor = CatalogEditor(self._bundled, stored)
                decided = decide(editor, await self._new_change(transaction, actor))
                for model_id, entry in decided.entries.items():
                    await transaction.put_model(model_id, entry)
                *others, changed = decided.entries
                changes = _changes(stored.models.get(changed), decided.entries[changed])
                noted = changes | dict(details or {}) | ({"no_longer_default": others[0]} if others else {})
                await transaction.audit(actor, action, changed, noted)
                kept = {**stored.models, **decided.entries}
                after = {key: entry for key, entry in kept.items() if entry is not None}
                found = CatalogEditor(self._bundled, Stored(after, stored.providers)).state(changed)
        state = found or editor.state(changed)
        assert state is not None, name
        return state

    async def _new_change(self, transaction: CatalogTransaction, actor: str) -> Change:
        return Change(actor, self._clock(), await transaction.next_revision())


def _means(catalog: Catalog, name: str, model_id: str) -> bool:
    found = catalog.resolve(name).model
    return found is not None and found.id == model_id


def _provider_states(stored: Stored) -> list[ProviderState]:
    return [_provider_state(name, stored.providers.get(name)) for name in providers_in_force(stored.providers.values())]


def _provider_state(name: str, entry: ProviderEntry | None) -> ProviderState:
    facts = (entry.facts() if entry else None) or PROVIDERS.describe(name)
    return ProviderState(
        name=name,
        title=facts.title,
        base_url=facts.base_url,
        bundled=name in PROVIDERS.bundled,
        retired=entry is not None and entry.retired,
        reason=entry.reason if entry else None,
        entry=entry,
    )


def _place(entry: PriceEntry) -> str:
    return f"{entry.provider}/{entry.model}"


def _price_facts(entry: PriceEntry) -> dict[str, str]:
    return {"effective": entry.effective.isoformat(), "revision": str(entry.revision)}


def _price_before(entry: PriceEntry, prices: Sequence[PriceEntry]) -> PriceEntry | None:
    """Return the price that operators had set for the same model and moment; None if the list price was in force."""
    earlier = [one for one in prices if _place(one) == _place(entry) and one.effective <= entry.effective]
    return max(earlier, key=lambda one: one.effective, default=None)


def _changes(before: Message | None, after: Message | None) -> dict[str, str]:
    """Return what differs in an entry, without who changed it and when, which the event says."""
    old, new = ({} if one is None else one.model_dump(mode="json", exclude=_BOOKKEEPING) for one in (before, after))
    return describe_changes(old, new)


@contextmanager
def _refuse(consequence: str) -> Iterator[None]:
    """Refuse the request where the change is refused, or the database is unreachable."""
    try:
        with refuse_outages(consequence):
            yield
    except RefusedChange as error:
        raise Refused(error.code, str(error)) from None
