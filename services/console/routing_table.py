"""One line of the routing table: the same handler stands under every prefix. Pure."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Route:
    """`path` goes on where the prefix ends; `name` is the operation's in the OpenAPI document."""

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
    path: str
    name: str
    handler: Callable[..., Awaitable[object]]
    status: int = 200
