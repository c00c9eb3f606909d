"""The span of a management request: whose it is, and whether its trace is kept."""

import pytest
from fastapi import FastAPI
from starlette.responses import StreamingResponse

from keyferry.contracts.access_role import AccessRole
from keyferry.contracts.service import ErrorCode, Refusal
from keyferry.contracts.tenancy import PLATFORM_TENANT
from keyferry.contracts.topology import KEY_LIST
from keyferry.runtime.tracing.sampling import TraceOptions
from keyferry.runtime.tracing.span import Span
from keyferry.runtime.tracing.telemetry import Telemetry
from services.console.authentication import Principal
from services.console.live_events.response import EVENT_STREAM
from tests.unit.console.people import person
from tests.unit.console.surface import Surface

OWN = "/api/v1/provider-keys"
OF_ACME = "/api/v1/ops/tenants/acme/provider-keys"
TRACE = "0af7651916cd43dd8448eb211c80319c"
KEPT_BY_CALLER = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
SLOW = TraceOptions(slow_seconds=-1.0)
"""With which every request is slow."""


def _surface(principal: Principal | None, options: TraceOptions = TraceOptions()) -> Surface:  # noqa: B008 - frozen
    surface = Surface(principal=principal, telemetry=Telemetry("console", {}, options))
    surface.store()
    return surface


def _span(surface: Surface) -> Span:
    (span,) = surface.telemetry.take()
    return span


@pytest.mark.parametrize(
    ("principal", "path", "tenant"),
    [
        (person(AccessRole.VIEWER, "acme"), OWN, "acme"),
        (person(AccessRole.OWNER, "globex"), OWN, "globex"),
        (person(AccessRole.OPERATOR), OWN, PLATFORM_TENANT),
        (person(AccessRole.OPERATOR), OF_ACME, PLATFORM_TENANT),
    ],
)
async def test_a_span_names_the_tenant_of_its_sender(principal: Principal, path: str, tenant: str) -> None:
    surface = _surface(principal)
    answer = await surface.ask("GET", path, headers=KEPT_BY_CALLER)
    assert answer.status_code == 200, answer.text
    span = _span(surface)
    named = span.named_attributes()
    assert named["keyferry.tenant"] == tenant
    assert named["keyferry.request_id"] == answer.headers["x-request-id"]
    assert (span.trace_id, span.name) == (TRACE, f"GET {named['http.route']}")


@pytest.mark.parametrize(
    ("principal", "path", "status"),
    [
        (person(AccessRole.OWNER, "globex"), OF_ACME, 403),
        (Principal(AccessRole.VIEWER, "acme", "member:ann", "ann", unknown_tenant=True), OWN, 404),
        (Principal(AccessRole.VIEWER, "acme", "member:ann", "ann", suspended=True), OWN, 403),
    ],
)
async def test_a_request_that_is_refused_is_nobodys(principal: Principal, path: str, status: int) -> None:
    surface = _surface(principal)
    assert (await surface.ask("GET", path, headers=KEPT_BY_CALLER)).status_code == status
    assert "keyferry.tenant" not in _span(surface).named_attributes()


async def test_a_request_that_failed_is_kept_and_one_that_was_refused_is_not() -> None:
    surface = _surface(person(AccessRole.VIEWER))
    surface.bus.answers(KEY_LIST, Refusal(code=ErrorCode.CONFLICT, message="no"))
    assert (await surface.ask("GET", OWN)).status_code == 409
    assert surface.telemetry.take() == []
    surface.bus.answers(KEY_LIST, Refusal(code=ErrorCode.UNAVAILABLE, message="no"))
    assert (await surface.ask("GET", OWN)).status_code == 503
    span = _span(surface)
    assert (span.error, span.named_attributes()["keyferry.tenant"]) == ("503", "acme")
    assert surface.telemetry.take_announcements() == [span.trace_id]


async def test_a_slow_request_is_kept_but_no_stream_of_events() -> None:
    def add_stream(app: FastAPI) -> None:
        async def stream() -> StreamingResponse:
            return StreamingResponse(iter([b": nothing\n\n"]), media_type=EVENT_STREAM)

        app.add_api_route("/api/v1/stream", stream)

    surface = Surface(principal=person(AccessRole.VIEWER), telemetry=Telemetry("console", {}, SLOW), adapt=add_stream)
    surface.store()
    assert (await surface.ask("GET", "/api/v1/stream")).status_code == 200
    assert surface.telemetry.take_announcements() == []
    assert (await surface.ask("GET", OWN)).status_code == 200
    assert surface.telemetry.take_announcements() != []
