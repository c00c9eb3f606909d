"""Messages about providers that an operator adds or retires. Pure."""

from collections.abc import Iterable
from typing import Annotated

from pydantic import Field

from keyferry.contracts.envelope import Command, Message
from keyferry.contracts.ids import Actor, ChosenModel, ModelName, ProviderName
from keyferry.contracts.providers import PROVIDERS, CompatibleApi, ProviderDirectory, ProviderFacts
from keyferry.contracts.text import GivenUrl, Line, Moment, Ordinal, Refusing, Url

ShownText = Annotated[str, Refusing(300, no_key=True, visible=True)]
"""A text for people that somebody chose."""
KeyPrefix = Annotated[str, Refusing(20, 2, pattern=r"^[A-Za-z0-9_.-]+$", form="A-Z a-z 0-9 _ . and -")]


class AddedProvider(Message):
    """An OpenAI-compatible provider that an operator added."""

    title: Line
    base_url: Url
    api: CompatibleApi = CompatibleApi.GENERIC
    key_url: Url | None = None
    """Where to get a key."""
    docs_url: Url | None = None
    prefixes: list[KeyPrefix] = Field(default_factory=list, max_length=10)
    """Prefixes of its keys, for warnings and masking."""
    key_optional: bool = False
    test_model: ModelName | None = None
    eu: bool = False
    """Whether it processes all calls to its base URL inside the European Union."""


class ProviderEntry(Message):
    """What an operator added or changed about one provider."""

    name: ProviderName
    added: AddedProvider | None = None
    """Null for a provider of this build that is only retired."""
    retired: bool = False
    reason: Line | None = None
    """Why it was retired."""
    revision: Ordinal
    changed_at: Moment
    changed_by: Actor

    def facts(self) -> ProviderFacts | None:
        """Return the facts about a provider that was added."""
        if self.added is None:
            return None
        return ProviderFacts(
            self.name,
            self.added.title,
            self.added.base_url,
            self.added.key_url or "",
            self.added.docs_url or "",
            tuple(self.added.prefixes),
            key_optional=self.added.key_optional,
            test_model=self.added.test_model,
            api=self.added.api,
            eu=self.added.eu,
        )


def install_providers(
    directory: ProviderDirectory, entries: Iterable[ProviderEntry], unreadable: Iterable[str] = ()
) -> None:
    """Replace the added and retired providers of a directory by these entries.

    `unreadable` names providers whose entry cannot be read: they may be retired, and are not used.
    """
    ordered = sorted(entries, key=lambda entry: entry.name)
    added = [facts for entry in ordered if (facts := entry.facts()) is not None]
    retired = {entry.name: _describe_retirement(entry) for entry in ordered if entry.retired}
    directory.install(added, retired | {name: _describe_unreadable(name) for name in unreadable})


def _describe_retirement(entry: ProviderEntry) -> str:
    title = entry.added.title if entry.added else PROVIDERS.describe(entry.name).title
    return f"the operator has retired the provider {title}" + (f": {entry.reason}" if entry.reason else "")


def _describe_unreadable(name: str) -> str:
    return f"what the operator has changed about the provider {PROVIDERS.describe(name).title} cannot be read"


class SaveProvider(Command):
    """Add an OpenAI-compatible provider, or replace one that was added."""

    name: ProviderName
    title: ShownText
    base_url: GivenUrl
    """Including the version: https://api.example.com/v1."""
    api: CompatibleApi = CompatibleApi.GENERIC
    key_url: GivenUrl | None = None
    """Where to get a key."""
    docs_url: GivenUrl | None = None
    prefixes: list[KeyPrefix] = Field(default_factory=list, max_length=10)
    """Prefixes of its keys, for warnings and masking."""
    key_optional: bool = False
    """Whether calls work without a key."""
    test_model: ChosenModel | None = None
    """A cheap model for the last step of a key test."""
    eu: bool = False
    """Whether it processes all calls to its base URL inside the European Union."""
    actor: Actor = "operator"
    """Who does it, for the audit."""


class RetireProvider(Command):
    """Stop using a provider. Keys for it stay stored, and are not used."""

    name: ProviderName
    reason: ShownText | None = None
    """Shown to those who ask for its models."""
    actor: Actor = "operator"
    """Who does it, for the audit."""


class RestoreProvider(Command):
    """Use a retired provider again."""

    name: ProviderName
    actor: Actor = "operator"
    """Who does it, for the audit."""


class ListProviders(Command):
    """Request every provider, retired ones included."""


class ProviderState(Message):
    """One provider as it is in force."""

    name: ProviderName
    title: Line
    base_url: Url | None = None
    """Null where it is given with each key."""
    bundled: bool
    """Whether this build has it."""
    retired: bool = False
    reason: Line | None = None
    entry: ProviderEntry | None = None
    """What operators changed; null if nothing."""


class ProviderStates(Message):
    """Every provider: those of this build in their order, then the added ones by name."""

    providers: list[ProviderState]
