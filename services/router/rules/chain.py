"""What a rule decides about one request: the models to plan with, in order. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from keyferry.contracts.fallback import UseCase
from keyferry.contracts.features import VIRTUAL_MODELS
from keyferry.contracts.rules import AppliedRule


@dataclass(frozen=True, slots=True)
class RuleModel:
    """One model of a chain."""

    name: str
    """As a caller would name it."""
    detail: str
    """Which rule and step it comes from, and its share."""
    use_case: UseCase | None = None
    """The chain by use case whose models the name stands for."""

    @property
    def virtual(self) -> bool:
        """Whether the name stands for a choice that is still to be made."""
        return self.name in VIRTUAL_MODELS


@dataclass(frozen=True, slots=True)
class RuleChain:
    """The chain of the rule that matches a request."""

    models: Sequence[RuleModel]
    fallback: bool
    """Whether the tenant's fallback models may follow."""
    applied: AppliedRule
    """For the decision record."""
