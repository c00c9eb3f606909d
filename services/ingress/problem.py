"""A problem to report to the caller, before any dialect gives it its shape."""

from dataclasses import dataclass, field

from keyferry.contracts.failure import Failure
from keyferry.contracts.frames import Accepted


@dataclass(frozen=True, slots=True)
class Problem(Exception):
    """An HTTP status and what goes into the error object. `type` and `code` are OpenAI's words where it has them."""

    status: int
    type: str
    code: str
    message: str
    param: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    failure: Failure | None = None
    """Where a provider or another service failed."""
    accepted: Accepted | None = None
    decision_id: str | None = None
