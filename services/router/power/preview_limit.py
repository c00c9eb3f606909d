"""How many previews a router makes at once: each plans hundreds of past requests beside those that are being served."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from keyferry.contracts.service import ErrorCode
from keyferry.runtime.bus.requests import Refused

MAX_OF_TENANT = 3
MAX_AT_ONCE = 8


class PreviewLimit:
    """The previews of one process that are being made."""

    def __init__(self) -> None:
        self._running: Counter[str] = Counter()

    @contextmanager
    def hold(self, tenant: str) -> Iterator[None]:
        """Count a preview of a tenant until it is made. Raises Refused for one too many."""
        if self._running[tenant] >= MAX_OF_TENANT:
            raise _refused("of this tenant's past requests")
        if self._running.total() >= MAX_AT_ONCE:
            raise _refused("of other tenants")
        self._running[tenant] += 1
        try:
            yield
        finally:
            self._running -= Counter([tenant])  # which keeps no zeros


def _refused(whose: str) -> Refused:
    message = f"as many previews {whose} are being made as a router makes at once: try again in a moment"
    return Refused(ErrorCode.UNAVAILABLE, message)
