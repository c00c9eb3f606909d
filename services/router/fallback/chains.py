"""Chains of models by use case: a reviewed file of ordered names, each of which stands in for the one before it. Pure."""

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date

from pydantic import ConfigDict, Field, ValidationError

from keyferry.contracts.catalog import CatalogPart
from keyferry.contracts.envelope import describe
from keyferry.contracts.fallback import UseCase
from keyferry.contracts.ids import ModelName
from keyferry.contracts.text import Line


class InvalidChains(ValueError):
    """An invalid file of chains. The message names the chain and the fault."""


@dataclass(frozen=True, slots=True)
class UseCaseChain:
    """The models of a use case, best first."""

    name: UseCase
    models: tuple[str, ...]
    eu_only: bool = False
    """Whether only offerings inside the European Union may serve it."""


class _Chain(CatalogPart):
    """One chain of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)

    description: Line
    models: list[ModelName] = Field(min_length=1, max_length=20)
    then: UseCase | None = None
    """The chain whose models come after these."""
    eu_only: bool = False


class _File(CatalogPart):
    """The file of chains."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)

    reviewed: date
    """When somebody last looked at all of it."""
    chains: dict[UseCase, _Chain]


def read_chains(text: str, is_model: Callable[[str], bool]) -> Mapping[str, UseCaseChain]:
    """Return the chains of a TOML file by name. `is_model` says whether the catalog has a model. Raises InvalidChains."""
    try:
        file = _File.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise InvalidChains(f"the file of chains is not TOML: {error}") from None
    except ValidationError as error:
        raise InvalidChains(f"the file of chains: {describe(error)}") from None
    if missing := [case for case in UseCase if case not in file.chains]:
        raise InvalidChains(f"there is no chain {missing[0]}; there has to be one for each of {', '.join(UseCase)}")
    for case, chain in file.chains.items():
        if len(set(chain.models)) < len(chain.models):
            raise InvalidChains(f"the chain {case} names a model twice: it would be tried again after it has failed")
        if unknown := [model for model in chain.models if not is_model(model)]:
            raise InvalidChains(f"the chain {case} names {unknown[0]}, which is not in the catalog")
    return {case.value: UseCaseChain(case, _models(file, case), file.chains[case].eu_only) for case in file.chains}


def _models(file: _File, case: UseCase) -> tuple[str, ...]:
    """Return the models of a chain and of those that follow it, each once. Raises InvalidChains for a loop."""
    models: dict[str, None] = {}
    passed: list[UseCase] = []
    following: UseCase | None = case
    while following is not None:
        passed.append(following)
        chain = file.chains[following]
        models |= dict.fromkeys(chain.models)
        following = chain.then
        if following in passed:
            raise InvalidChains(f"the chains {' -> '.join([*passed, following])} loop: remove one `then`")
        if following is not None and file.chains[case].eu_only and not file.chains[following].eu_only:
            raise InvalidChains(f"the chain {case} stays inside the EU, and {following}, which follows it, does not")
    return tuple(models)
