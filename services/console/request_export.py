"""The stream of an export: page after page from the ledger, so that memory stays the same however long it is."""

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import datetime, tzinfo
from typing import Literal

from keyferry.contracts.ledger_management import REQUEST_LIST
from keyferry.contracts.request_log import ListRequests, RequestPage
from keyferry.contracts.request_rows import csv_head, csv_lines, export_rows, json_line, json_lines
from keyferry.runtime.backoff import Backoff
from keyferry.runtime.http.problem import HttpProblem
from services.console.service_client import ServiceClient

PAGE_SECONDS = 30.0
_TRIES = 4
_BACKOFF = Backoff(first_seconds=0.25, longest_seconds=2.0)
_UNAVAILABLE = 503

_log = logging.getLogger(__name__)


class ExportStopped(Exception):
    """An export ended in the middle. The connection is aborted, so that the file does not look complete."""


class RequestExport:
    """One export: its first page is read before the response begins, so that an error then has a status of its own."""

    def __init__(
        self, services: ServiceClient, command: ListRequests, zone: tzinfo, form: Literal["csv", "jsonl"]
    ) -> None:
        self._services = services
        self._command = command
        self._zone = zone
        self._form = form
        self._first: RequestPage | None = None
        self._rows = self._requests = 0

    async def begin(self) -> datetime:
        """Read the first page. Return until when records count. Raises HttpProblem."""
        self._first = await self._read(None)
        return self._first.as_of

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the file. Raises ExportStopped if the rest of a CSV file cannot be read; JSON lines end with the error."""
        page = self._first
        assert page is not None
        self._first = None
        if self._form == "csv":
            yield csv_head().encode()
        while True:
            yield self._render(page)
            if page.next is None:
                break
            try:
                page = await self._read_patiently(page.next)
            except HttpProblem as problem:
                if self._form == "csv":
                    raise ExportStopped(problem.message) from None
                yield json_line(
                    {"error": {"message": problem.message, "code": problem.code}, **self._counts()}
                ).encode()
                return
        if self._form == "jsonl":
            yield json_line({"end": True, "as_of": page.as_of.isoformat(), **self._counts()}).encode()

    def _counts(self) -> dict[str, int]:
        return {"requests": self._requests, "rows": self._rows}

    def _render(self, page: RequestPage) -> bytes:
        rows = [row for request in page.requests for row in export_rows(request, self._zone)]
        self._requests += len(page.requests)
        self._rows += len(rows)
        return (csv_lines(rows) if self._form == "csv" else json_lines(rows)).encode()

    async def _read_patiently(self, after: str) -> RequestPage:
        """Return a page; try again for some seconds while the ledger is away. Raises HttpProblem."""
        for tried in range(_TRIES - 1):
            try:
                return await self._read(after)
            except HttpProblem as problem:
                if problem.status != _UNAVAILABLE:
                    raise
                _log.warning("an export waits for the ledger", extra={"rows": self._rows})
            await asyncio.sleep(_BACKOFF.delay_seconds(tried))
        return await self._read(after)

    async def _read(self, after: str | None) -> RequestPage:
        command = self._command.model_copy(update={"after": after})
        return await self._services.read(REQUEST_LIST, command, timeout_seconds=PAGE_SECONDS)
