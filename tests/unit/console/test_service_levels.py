"""Which management requests count for a service level, and the route that shows the levels."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from keyferry.contracts.service_levels import (
    OBJECTIVES,
    SERVICE_LEVEL_GET,
    GetServiceLevels,
    ServiceLevelName,
    ServiceLevels,
)
from keyferry.runtime.http.asgi import Message, Receive, Scope, Send
from services.console.access import ALLOWED, INSTALLATION_PREFIX, OPERATOR_PREFIX, OWN_PREFIX
from services.console.service_levels import _FIGURES, _UNTIMED, TimedApplication, level_of
from tests.unit.console.surface import NOW, Surface

MANAGEMENT, DASHBOARD = ServiceLevelName.MANAGEMENT, ServiceLevelName.DASHBOARD


def test_every_exception_is_a_route() -> None:
    known = {
        (method, template.removeprefix(prefix))
        for method, template in ALLOWED
        for prefix in (OPERATOR_PREFIX, INSTALLATION_PREFIX, OWN_PREFIX)
    }
    assert {("GET", path) for path in _FIGURES} <= known
    assert known >= _UNTIMED
    assert not {("GET", path) for path in _FIGURES} & _UNTIMED


@pytest.mark.parametrize(
    ("method", "template", "expected"),
    [
        ("GET", "/api/v1/provider-keys", MANAGEMENT),
        ("PUT", "/api/v1/ops/tenants/{tenant}/preferences", MANAGEMENT),
        ("GET", "/api/v1/usage/summary", DASHBOARD),
        ("GET", "/api/v1/ops/tenants/{tenant}/requests/{request_id}", DASHBOARD),
        ("GET", "/api/v1/ops/analytics", DASHBOARD),
        ("GET", "/api/v1/events", None),
        ("POST", "/api/v1/provider-keys/{key_id}/test", None),
        ("POST", "/api/v1/commands/{subject}", None),
        ("GET", "/healthz", None),
    ],
)
def test_the_level_of_a_route(method: str, template: str, expected: ServiceLevelName | None) -> None:
    assert level_of(method, template) is expected


async def counted(
    *, template: str | None, status: int | None, took_ms: int, path: str = "/api/v1/budgets"
) -> list[tuple[ServiceLevelName, bool]]:
    moments = iter((0.0, took_ms / 1000))
    found: list[tuple[ServiceLevelName, bool]] = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(0)
        if template is not None:
            scope["route"] = SimpleNamespace(path=template)
        if status is not None:
            await send({"type": "http.response.start", "status": status, "headers": []})
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def receive() -> Message:
        raise AssertionError

    async def send(_: Message) -> None:
        await asyncio.sleep(0)

    scope: dict[str, Any] = {"type": "http", "method": "GET", "path": path}
    await TimedApplication(application, lambda *event: found.append(event), lambda: next(moments))(scope, receive, send)
    return found


async def test_requests_are_good_if_they_are_answered_in_time() -> None:
    budgets, usage = "/api/v1/budgets", "/api/v1/usage/summary"
    for template, name in ((budgets, MANAGEMENT), (usage, DASHBOARD)):
        limit = OBJECTIVES[name].threshold_ms
        assert limit is not None
        assert await counted(template=template, status=200, took_ms=limit) == [(name, True)]
        assert await counted(template=template, status=200, took_ms=limit + 1) == [(name, False)]
        assert await counted(template=template, status=422, took_ms=1) == [(name, True)]
        assert await counted(template=template, status=503, took_ms=1) == [(name, False)]


async def test_who_cannot_ask_or_goes_away_does_not_count() -> None:
    assert await counted(template=None, status=401, took_ms=5000) == []
    assert await counted(template=None, status=503, took_ms=1) == [(MANAGEMENT, False)]
    assert await counted(template=None, status=503, took_ms=1, path="/assets/x.js") == []
    assert await counted(template="/api/v1/budgets", status=None, took_ms=50) == []
    assert await counted(template="/api/v1/budgets", status=None, took_ms=5000) == [(MANAGEMENT, False)]


async def test_the_operator_sees_the_levels() -> None:
    surface = Surface()
    surface.bus.answers(SERVICE_LEVEL_GET, ServiceLevels(as_of=NOW, days=7, since=NOW, levels=[]))
    response = await surface.ask("GET", "/api/v1/ops/service-levels?days=7")
    assert response.status_code == 200
    assert surface.bus.asked[-1][1] == GetServiceLevels(days=7)
    for days in ("0", "91", "x", "1.5"):
        assert (await surface.ask("GET", f"/api/v1/ops/service-levels?days={days}")).status_code in (400, 422)
