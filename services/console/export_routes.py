"""The route for the export of a tenant."""

import json
import logging
from collections.abc import AsyncIterator

from fastapi.responses import StreamingResponse

from keyferry.runtime.http.problem import HttpProblem
from keyferry.runtime.tenant_export import TenantExport
from services.console.access import RouteSpec
from services.console.service_client import ServiceClient
from services.console.tenant_context import CurrentTenant

_log = logging.getLogger(__name__)


class ExportRoutes:
    """The route `/export`."""

    def __init__(self, services: ServiceClient) -> None:
        self._services = services

    def specs(self) -> tuple[RouteSpec, ...]:
        """Return the route."""
        return (RouteSpec("GET", "/export", "export_tenant", self.export, media_types=("application/jsonl",)),)

    async def export(self, context: CurrentTenant) -> StreamingResponse:
        """Stream everything of the tenant that is its own and no secret, as JSON lines of `kind` and `data`.

        The last line has the kind `end`, or `error` if the rest could not be read.
        """
        exported = TenantExport(self._services.read, context.tenant)
        lines = exported.lines()
        head = [await anext(lines), await anext(lines)]
        headers = {"content-disposition": f'attachment; filename="{context.tenant}.jsonl"'}
        return StreamingResponse(_rest(head, lines), media_type="application/jsonl; charset=utf-8", headers=headers)


async def _rest(head: list[str], lines: AsyncIterator[str]) -> AsyncIterator[bytes]:
    """Yield the lines; the first two are read before the response begins, so that an error then has a status of its own."""
    yield "".join(head).encode()
    try:
        async for line in lines:
            yield line.encode()
    except HttpProblem as problem:
        _log.warning("an export of a tenant ended in the middle", extra={"why": problem.message})
        end = {"kind": "error", "data": {"code": problem.code, "message": problem.message}}
        yield (json.dumps(end) + "\n").encode()
