"""Requests at a steady rate, regardless of how the system keeps up, and how each of them ended."""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType

from tests.support.clients.stream_clients import ClientResponse, PendingRequest, StreamClients
from tests.support.providers.scripted_answers import Script


@dataclass(frozen=True)
class Request:
    """One request of a load. `cut_after_bytes` is where its client hangs up, if it does."""

    script: Script
    stream: bool = True
    cut_after_bytes: int | None = None
    token: str | None = None
    """The client token, where it is not the one of all clients."""


RequestFactory = Callable[[str, random.Random], Request]
"""Makes the request with this name, from nothing but the random numbers it is given."""


@dataclass
class SteadyLoad:
    """Sends `rate_per_second` requests a second while its block lasts; an open loop, so the system gets no relief."""

    clients: StreamClients
    model: str
    name: str
    rate_per_second: float
    make_request: RequestFactory
    seed: int
    sent: list[tuple[Request, PendingRequest]] = field(default_factory=list)
    sent_at: list[float] = field(default_factory=list)
    """When each was sent, by the monotonic clock (seconds)."""
    ended_at: dict[str, float] = field(default_factory=dict)
    """When each of those that have ended did, by the name of its script."""
    whole: int = 0
    """How many answers have come whole so far."""
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> "SteadyLoad":
        self._thread = threading.Thread(target=self._run, name=f"load {self.name}", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop.set()
        assert self._thread is not None
        self._thread.join(30)

    def under_way(self) -> set[str]:
        """Return the names of the scripts whose responses have not ended."""
        return {request.script.name for request, pending in list(self.sent) if not pending.ending.done()}

    def endings(self) -> dict[str, ClientResponse]:
        """Wait for the last response. Return all of them by the name of their script."""
        return {request.script.name: pending.result() for request, pending in self.sent}

    def _run(self) -> None:
        numbers = random.Random(self.seed)
        started = time.monotonic()
        while not self._stop.wait(max(0.0, started + len(self.sent) / self.rate_per_second - time.monotonic())):
            request = self.make_request(f"{self.name}-{len(self.sent)}", numbers)
            pending = self.clients.ask(
                self.model,
                request.script.prompt,
                stream=request.stream,
                operation=request.script.name,
                cut_after_bytes=request.cut_after_bytes,
                token=request.token,
            )
            pending.ending.add_done_callback(partial(self._note_end, request.script.name))
            self.sent_at.append(time.monotonic())
            self.sent.append((request, pending))

    def _note_end(self, name: str, ending: "Future[ClientResponse]") -> None:
        self.ended_at[name] = time.monotonic()
        self.whole += ending.result().whole


def client_outcome(request: Request, ending: ClientResponse) -> str:
    """Return the outcome a client saw. Fails if a response looks complete and is not, or never ended."""
    script = request.script
    assert not ending.timed_out, f"{script.name} never ended"
    if ending.whole:
        assert ending.text == script.text, f"{script.name} was delivered as whole with a hole in it"
        return "whole"
    if ending.reported_failure:
        assert script.text.startswith(ending.text), f"{script.name} got text that is not the beginning of its answer"
        return f"status {ending.status}" if ending.status != 200 else "error event"
    assert not ending.done, f"{script.name} was given [DONE] before the answer was complete"
    return "hung up" if request.cut_after_bytes is not None else "connection lost"


def client_outcomes(load: SteadyLoad) -> Counter[str]:
    """Count the outcomes of all requests of a load."""
    endings = load.endings()
    return Counter(client_outcome(request, endings[request.script.name]) for request, _ in load.sent)
