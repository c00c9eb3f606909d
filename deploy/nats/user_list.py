"""The list of internal services that the server's users are rendered from, and its copy on disk.

With the copy the server can start before the tenant directory, which needs the server. A missing or damaged copy counts as empty:
the programs are then let in again once the directory has answered.
"""

import logging
from pathlib import Path

from deploy.embedded.home import write_json
from keyferry.cli.connection import OperatorConnection
from keyferry.contracts.envelope import MalformedMessage
from keyferry.contracts.internal_services import (
    INTERNAL_SERVICE_LIST,
    InternalService,
    InternalServices,
    ListInternalServices,
)
from keyferry.contracts.service import ErrorCode
from keyferry.runtime.bus.requests import Refused

_log = logging.getLogger(__name__)


async def fetch(me: OperatorConnection, first_tenant: str) -> list[InternalService]:
    """Ask the directory for every service that is not revoked, and for the revoked ones of the launcher's own tenant.

    Operations are left out: with them, the longest that a few tenants may name would pass the size of a message. Raises Refused
    and BusError.
    """
    live = (await me.ask(INTERNAL_SERVICE_LIST, ListInternalServices(without_operations=True))).services
    query = ListInternalServices(tenant=first_tenant, revoked=True, without_operations=True)
    try:
        of_first = await me.ask(INTERNAL_SERVICE_LIST, query)
    except Refused as refused:
        if refused.refusal.code is not ErrorCode.NOT_FOUND:
            raise
        return live
    return live + [service for service in of_first.services if service.revoked_at is not None]


def read_copy(path: Path) -> list[InternalService]:
    """Return the services of the last list, as far as it is there."""
    try:
        return InternalServices.decode(path.read_bytes()).services
    except FileNotFoundError:
        return []
    except (OSError, MalformedMessage) as error:
        _log.warning("the list of internal services cannot be read", extra={"error": str(error)})
        return []


def write_copy(path: Path, services: list[InternalService]) -> None:
    """Replace the copy. Raises OSError."""
    write_json(path, InternalServices(services=services).model_dump(mode="json"))
