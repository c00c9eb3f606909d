"""What a route of the double of Lago is, and what its function gets."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from deploy.billing_demo.lago.problem import JsonObject
from deploy.billing_demo.lago.state import LagoAccount


@dataclass(slots=True)
class LagoCall:
    """One request: the state, the body, the ids in the path, and the query."""

    state: LagoAccount
    body: Any = None
    ids: tuple[str, ...] = ()
    query: dict[str, str] = field(default_factory=dict)
    queries: dict[str, list[str]] = field(default_factory=dict)
    """The same with all values of a name."""


@dataclass(frozen=True, slots=True)
class LagoRoute:
    """A method, a path with `{}` for each id, and its function."""

    method: str
    path: str
    answer: Callable[[LagoCall], JsonObject]
    pattern: re.Pattern[str] = field(init=False)

    def __post_init__(self) -> None:
        expression = re.escape(self.path).replace(r"\{\}", "([^/]+)")
        object.__setattr__(self, "pattern", re.compile(expression))
