"""The router's management handlers refuse requests during a database outage."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import pytest

from keyferry.contracts.addresses import AddressPolicy
from keyferry.contracts.route import (
    Endpoint,
    EndpointProbe,
    ListEndpoints,
    ProbeEndpoint,
    RemoveEndpoint,
    SaveEndpoint,
)
from keyferry.contracts.service import ErrorCode
from keyferry.contracts.tenancy import Tenant, Tier
from keyferry.runtime.bus.requests import BusError, Refused
from keyferry.runtime.database.errors import DatabaseUnavailable
from services.router.handlers import ManagementHandlers
from services.router.planning.context import RoutingContext


class UnavailableStore:
    """A store whose database does not answer."""

    async def save(self, endpoint: Endpoint, actor: str) -> None:
        raise DatabaseUnavailable

    async def remove(self, command: RemoveEndpoint) -> Endpoint | None:
        raise DatabaseUnavailable

    async def of_tenant(self, tenant: str) -> list[Endpoint]:
        raise DatabaseUnavailable


def context(tenant: str) -> RoutingContext:
    return RoutingContext(Tenant(tenant=tenant, name="Acme", tier=Tier.FREE), [], datetime(2026, 3, 1, tzinfo=UTC))


async def no_worker(_: ProbeEndpoint) -> EndpointProbe:
    raise BusError("nobody answers endpoint.probe")


HANDLERS = ManagementHandlers(UnavailableStore(), context, AddressPolicy(), no_worker)
SAVE = SaveEndpoint(tenant="acme", name="lab", base_url="https://llm.example/v1", models=["m"])


@pytest.mark.parametrize(
    ("request_", "consequence"),
    [
        (lambda: HANDLERS.save_endpoint(SAVE), "unknown whether the change was made"),
        (
            lambda: HANDLERS.remove_endpoint(RemoveEndpoint(tenant="acme", name="lab")),
            "unknown whether the change was made",
        ),
        (lambda: HANDLERS.list_endpoints(ListEndpoints(tenant="acme")), "try again in a moment"),
    ],
    ids=["save", "remove", "list"],
)
async def test_a_database_outage_is_a_refusal_with_its_consequence(
    request_: Callable[[], Awaitable[object]], consequence: str
) -> None:
    with pytest.raises(Refused, match=consequence) as refused:
        await request_()
    assert refused.value.refusal.code is ErrorCode.UNAVAILABLE


async def test_no_endpoint_is_saved_for_an_unknown_tenant() -> None:
    nobody = RoutingContext(None, [], datetime(2026, 3, 1, tzinfo=UTC))
    handlers = ManagementHandlers(UnavailableStore(), lambda tenant: nobody, AddressPolicy(), no_worker)
    with pytest.raises(Refused, match="there is no tenant acme") as refused:
        await handlers.save_endpoint(SAVE.model_copy(update={"probe": False}))
    assert refused.value.refusal.code is ErrorCode.NOT_FOUND
