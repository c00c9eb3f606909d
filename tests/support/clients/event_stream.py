"""Reads server-sent events as a browser does: names, ids and data, and the id that it would connect again with."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True)
class Received:
    """An event."""

    name: str
    id: str
    data: Any


class EventReader:
    """The events of one response. `last_id` is the last id that came, also without an event."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self.last_id = ""
        self.comments = 0
        self.retry: int | None = None
        self._lines = response.aiter_lines()

    async def next(self) -> Received | None:
        """Return the next event; None at the end of the stream."""
        name, data = "message", ""
        async with asyncio.timeout(TIMEOUT_SECONDS):
            async for line in self._lines:
                field, _, value = line.partition(": ")
                if line.startswith(":"):
                    self.comments += 1
                elif field == "id":
                    self.last_id = value
                elif field == "event":
                    name = value
                elif field == "data":
                    data = value
                elif field == "retry":
                    self.retry = int(value)
                elif not line and data:
                    return Received(name, self.last_id, json.loads(data))
        return None

    async def expect(self, name: str, wanted: Callable[[Any], bool] = lambda _: True) -> Received:
        """Return the next event of this name with the wanted data; what comes before is left out."""
        while (found := await self.next()) is not None:
            if found.name == name and wanted(found.data):
                return found
        raise AssertionError(f"the stream ended without {name}")

    async def rest(self) -> list[Received]:
        """Return everything until the end of the stream."""
        found = []
        while (event := await self.next()) is not None:
            found.append(event)
        return found


@asynccontextmanager
async def events(client: httpx.AsyncClient, path: str, **headers: str) -> AsyncIterator[EventReader]:
    """Open a stream, and check what every stream has."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    async with client.stream("GET", path, headers=given) as response:
        if response.status_code != 200:
            await response.aread()
        assert response.status_code == 200, response.text
        assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert response.headers["cache-control"] == "no-store"
        assert response.headers["x-accel-buffering"] == "no"
        assert "content-encoding" not in response.headers
        yield EventReader(response)
