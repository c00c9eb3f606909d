"""What became of a request at the limits of its tenant and its client token. Pure."""

from dataclasses import dataclass

from keyferry.contracts.failure import Failure
from keyferry.contracts.limits import Admission, RateLimits


@dataclass(frozen=True, slots=True)
class Admitted:
    """A request that may be made: what it holds, and what is left of the limits. `failure` is why it may not."""

    admission: Admission | None = None
    rate_limits: RateLimits | None = None
    failure: Failure | None = None
