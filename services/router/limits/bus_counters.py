"""The counters of limits on the bus: one message adds and returns the new value."""

import logging

import orjson
from nats.errors import Error as NatsError

from keyferry.contracts.limit_counters import INCREMENT_HEADER
from keyferry.runtime.bus.connection import Bus
from services.router.limits.counter import CounterUnavailable

_log = logging.getLogger(__name__)

_TIMEOUT_SECONDS = 1.0


class BusCounters:
    """Adds to the counters of the stream LIMITS."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._available = True

    async def add(self, subject: str, amount: int) -> int:
        """Add to a counter and return its new value; 0 reads it. Raises CounterUnavailable."""
        headers = {INCREMENT_HEADER: f"{amount:+d}"}
        try:
            reply = await self._bus.client.request(subject, b"", timeout=_TIMEOUT_SECONDS, headers=headers)
            answer = orjson.loads(reply.data)
        except (NatsError, TimeoutError, orjson.JSONDecodeError) as error:
            raise self._unavailable(type(error).__name__) from None
        if (value := answer.get("val")) is None:
            raise self._unavailable(str(answer.get("error", "the stream does not count")))
        self._available = True
        return int(value)

    @property
    def available(self) -> bool:
        """Whether they have answered when they were last asked."""
        return self._available

    def _unavailable(self, why: str) -> CounterUnavailable:
        if self._available:
            _log.error("the counters of limits do not answer", extra={"why": why})
        self._available = False
        return CounterUnavailable(why)
