"""What a route of the double is, and what its function gets."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from deploy.billing_demo.stripe.problem import JsonObject
from deploy.billing_demo.stripe.state import StripeState


@dataclass(slots=True)
class StripeCall:
    """One request: the account's state, the checked parameters, and the ids in its path."""

    state: StripeState
    params: JsonObject
    ids: tuple[str, ...] = ()
    path: str = ""

    def pick(self, *names: str) -> JsonObject:
        """Return those of the parameters that were given."""
        return {name: self.params[name] for name in names if name in self.params}


Answer = Callable[[StripeCall], JsonObject]


@dataclass(frozen=True, slots=True)
class StripeRoute:
    """A method, a path with `{}` for each id, the class of its parameters in `stripe.params`, and its function."""

    method: str
    path: str
    params: str
    answer: Answer
    pattern: re.Pattern[str] = field(init=False)

    def __post_init__(self) -> None:
        expression = re.escape(self.path).replace(r"\{\}", "([^/]+)")
        object.__setattr__(self, "pattern", re.compile(expression))
