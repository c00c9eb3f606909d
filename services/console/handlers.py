"""The FastAPI application: every route under the credential's own tenant, and under a tenant that an operator names."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any, Literal

from fastapi import Depends, FastAPI, Request, Response, params
from fastapi.datastructures import Default
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from fastapi.telemetry import TelemetryConfig
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException

from keyferry.contracts.access_role import AccessRole
from keyferry.contracts.channels import Q, R
from keyferry.contracts.topology import SUBJECTS, Subject
from keyferry.runtime.bus.requests import BusError
from keyferry.runtime.http.problem import INVALID_REQUEST, HttpProblem, render_error
from services.console.access import (
    ALLOWED,
    INSTALLATION_PREFIX,
    OPERATOR_PREFIX,
    OWN_PREFIX,
    RouteSpec,
    explain_unknown_path,
    methods_at,
)
from services.console.command_routes import CommandRoutes
from services.console.live_events.bodies import LiveEventData
from services.console.live_events.hub import LiveEvents
from services.console.live_events.response import EVENT_STREAM, EventStreamResponse
from services.console.live_events.routes import LiveEventRoutes
from services.console.middleware import REQUEST_ID
from services.console.negotiation import CSV
from services.console.operator_access import OperatorAccess
from services.console.problem import ErrorBody, internal_error
from services.console.route_lists import installation_specs, tenant_specs
from services.console.sealing import Sealer
from services.console.self_access import needs_step_up
from services.console.service_client import Ask, CollectReports, ServiceClient
from services.console.session_routes import SessionRoutes
from services.console.tenant_context import (
    DOCUMENTED_CREDENTIAL,
    CurrentTenant,
    TenantContext,
    TenantInPath,
    tenant_in_path,
)
from services.console.validation import (
    check_no_body,
    check_query,
    problem_from_faults,
    query_parameters,
    repeatable_parameters,
    takes_body,
)

_DESCRIPTION = (
    "Everything that the command line does, over HTTP: tenants, client tokens, provider keys, endpoints, models, usage, the vault"
    " and the audit log. The tenant comes from the credential; an operator acts for a tenant under"
    " `/api/v1/ops/tenants/{tenant}`, and for the whole installation under `/api/v1/ops`. Unknown fields are rejected. Lists are"
    " paged: pass `next` of a page as `after` to get the following one."
)
_ERRORS: Mapping[int | str, dict[str, object]] = {
    400: {"description": "The request cannot be read or has an unknown field", "model": ErrorBody},
    401: {"description": "The credential is missing or not accepted", "model": ErrorBody},
    403: {"description": "The credential does not allow this", "model": ErrorBody},
    404: {"description": "Not found", "model": ErrorBody},
    409: {"description": "The request conflicts with the current state", "model": ErrorBody},
    408: {"description": "The body did not arrive in time", "model": ErrorBody},
    413: {"description": "The body is too large", "model": ErrorBody},
    415: {"description": "The body is compressed", "model": ErrorBody},
    422: {"description": "A value is invalid, or the request was refused; the message says why", "model": ErrorBody},
    429: {"description": "Too many bad credentials of the client's address, or streams of events", "model": ErrorBody},
    503: {"description": "The service that owns the data does not answer now", "model": ErrorBody},
}
_WITHOUT_TELEMETRY = TelemetryConfig(
    auto_configure=False,
    tracing=False,
    metrics=False,
    logs=False,
    operation_spans=False,
    exclude=lambda _: True,
)
"""FastAPI would pass bodies and validation errors, including provider keys, to any telemetry in the process."""


_COMMANDS = frozenset(subject.message.__name__ for subject in SUBJECTS)


class Liveness(BaseModel):
    """The answer of a process that is alive."""

    status: Literal["ok"] = "ok"


class Readiness(BaseModel):
    """Whether the process can take requests, and what it is waiting for."""

    status: Literal["ready", "waiting", "draining"]
    waiting_for: Sequence[str]


def build_application(
    *,
    ask: Ask,
    sealer: Sealer,
    clock: Callable[[], datetime],
    waiting_for: Callable[[], list[str]],
    draining: Callable[[], bool],
    live: LiveEvents | None = None,
    collect: CollectReports | None = None,
    documented: bool = False,
) -> FastAPI:
    """Build the routes. They need `ManagementMiddleware` around them, which stores the principal in the scope.

    Only `documented` routes name the bodies of their errors, which the document shows and a running console does not need:
    FastAPI would take a tenth of a second for them.
    """
    app = _empty_application()
    services, events = ServiceClient(ask, collect), LiveEventRoutes(live)
    access = OperatorAccess(services)
    specs = tenant_specs(services, sealer, clock)
    credential = Depends(DOCUMENTED_CREDENTIAL)
    errors = _ERRORS if documented else {}
    _add(app, OWN_PREFIX, specs, [credential], errors)
    _add(app, OWN_PREFIX, SessionRoutes(services).specs(), [credential], errors)
    _add(app, OWN_PREFIX, CommandRoutes(services, sealer, access).specs(), [credential], errors)
    _add(app, OWN_PREFIX, events.own_specs(), [credential], errors)
    _add(
        app,
        INSTALLATION_PREFIX,
        (*installation_specs(services, sealer), *events.operator_specs()),
        [credential],
        errors,
    )
    _add(
        app,
        OPERATOR_PREFIX,
        (*specs, *events.tenant_specs()),
        [credential, Depends(_tenant_check(services, access))],
        errors,
        suffix="_for_tenant",
    )
    _add_health(app, waiting_for, draining)
    return app


def _empty_application() -> FastAPI:
    app = FastAPI(
        title="Keyferry management API",
        description=_DESCRIPTION,
        version=version("keyferry"),
        openapi_url=None,
        redirect_slashes=False,
        telemetry=_WITHOUT_TELEMETRY,
        generate_unique_id_function=_operation_id,
    )
    app.add_exception_handler(HttpProblem, _on_problem)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(ValidationError, _on_invalid_command)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(Exception, _on_exception)
    return app


def build_document() -> dict[str, object]:
    """Return the OpenAPI document of the routes, built without a bus."""

    async def no_bus(subject: Subject[Q, R], question: Q, *, timeout_seconds: float) -> R:
        raise BusError("the OpenAPI document is built without a bus")

    app = build_application(
        ask=no_bus,
        sealer=Sealer(""),
        clock=lambda: datetime.now(UTC),
        waiting_for=list,
        draining=lambda: False,
        documented=True,
    )
    document = app.openapi()
    for operation in (each for methods in document["paths"].values() for each in methods.values()):
        # FastAPI says of every answer that is not JSON that it is a string; the schema is that of the events' data.
        if event := operation["responses"].get("200", {}).get("content", {}).get(EVENT_STREAM):
            del event["schema"]["type"]
    return document


def _add(
    app: FastAPI,
    prefix: str,
    specs: Iterable[RouteSpec],
    dependencies: Sequence[params.Depends],
    errors: Mapping[int | str, dict[str, object]],
    suffix: str = "",
) -> None:
    for spec in specs:
        path = prefix + spec.path
        app.add_api_route(
            path,
            spec.handler,
            methods=[spec.method],
            name=f"{spec.name}{suffix}",
            status_code=spec.status,
            dependencies=[
                Depends(_request_check(spec.handler)),
                *([Depends(tenant_in_path)] if "{tenant}" in path else []),
                *dependencies,
            ],
            responses=_responses(spec, errors),
            response_model=Default(None) if spec.answer is None else spec.answer,
            openapi_extra=_access_of(spec.method, path),
            response_class=_response_class(spec),
        )


def _response_class(spec: RouteSpec) -> Any:
    if EVENT_STREAM in spec.media_types:
        return EventStreamResponse
    return Response if spec.media_types and spec.answer is None else Default(JSONResponse)


def _access_of(method: str, path: str) -> dict[str, object]:
    """Return what the document says about who may call a route, for pages that offer only what is allowed."""
    roles = ALLOWED.get((method, path), frozenset())
    return {
        "x-keyferry-roles": [role.value for role in AccessRole if role in roles],
        "x-keyferry-step-up": needs_step_up(method, path),
    }


def _responses(spec: RouteSpec, errors: Mapping[int | str, dict[str, object]]) -> dict[int | str, dict[str, object]]:
    media_types = spec.media_types if spec.answer is None else (CSV, *spec.media_types)
    if not media_types or not errors:
        return dict(errors)
    if EVENT_STREAM in media_types:
        return {**errors, 200: {"model": LiveEventData, "description": "Events, each with one of these in `data`"}}
    return {**errors, 200: {"content": {each: {"schema": {"type": "string"}} for each in media_types}}}


def _request_check(handler: Callable[..., object]) -> Callable[[Request], Awaitable[None]]:
    """Return the check of a request to a route: FastAPI ignores what a route does not read, and repeated parameters."""
    known, repeatable, has_body = query_parameters(handler), repeatable_parameters(handler), takes_body(handler)

    async def check(request: Request) -> None:
        check_query(request.scope["query_string"], known, repeatable)
        if not has_body:
            check_no_body(await request.body())

    return check


def _tenant_check(
    services: ServiceClient, access: OperatorAccess
) -> Callable[[TenantContext, str, Request], Awaitable[None]]:
    """Return the check that the tenant in the path exists: a service that knows nothing of it may answer with nothing.

    What an operator then reads of the tenant is recorded first.
    """

    async def check(context: CurrentTenant, tenant: TenantInPath, request: Request) -> None:
        # The context comes first: who may not call the route learns nothing of tenants.
        await services.require_tenant(tenant)
        await access.record_route(context, request)

    return check


def _add_health(app: FastAPI, waiting_for: Callable[[], list[str]], draining: Callable[[], bool]) -> None:
    async def healthz() -> Liveness:
        """Report that the process is alive."""
        return Liveness()

    async def readyz(response: Response) -> Readiness:
        """Report whether the process can take requests; 503 if it cannot."""
        waiting = waiting_for()
        status: Literal["ready", "waiting", "draining"] = (
            "draining" if draining() else "waiting" if waiting else "ready"
        )
        response.status_code = 200 if status == "ready" else 503
        return Readiness(status=status, waiting_for=waiting)

    # Without the check of other routes: load balancers add parameters against caches.
    app.add_api_route("/healthz", healthz, methods=["GET"], name="healthz")
    not_ready: dict[int | str, dict[str, object]] = {503: {"description": "Not ready", "model": Readiness}}
    app.add_api_route("/readyz", readyz, methods=["GET"], name="readyz", responses=not_ready)


def _operation_id(route: APIRoute) -> str:
    return route.name


async def _on_problem(request: Request, problem: Exception) -> Response:
    assert isinstance(problem, HttpProblem)
    body = render_error(problem, request.scope[REQUEST_ID])
    return Response(body, problem.status, headers=problem.headers, media_type="application/json")


async def _on_validation_error(request: Request, error: Exception) -> Response:
    """Replace FastAPI's own response, which repeats the request."""
    assert isinstance(error, RequestValidationError)
    return await _on_problem(request, problem_from_faults(error.errors()))


async def _on_invalid_command(request: Request, error: Exception) -> Response:
    """Answer a request that is valid by itself and makes a command that is not, such as a budget of the platform's."""
    assert isinstance(error, ValidationError)
    if error.title not in _COMMANDS:
        raise error
    faults = error.errors(include_url=False, include_input=False)
    return await _on_problem(
        request, problem_from_faults({**each, "loc": ("command", *each["loc"])} for each in faults)
    )


async def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    headers = dict(error.headers or {})
    if error.status_code == 405:
        # Of several routes at one path Starlette names the methods of the first only.
        allowed = ", ".join(methods_at(request.scope["path"])) or headers.get("Allow", "other methods")
        message = f"this address takes {allowed}, not {request.method}"
        problem = HttpProblem(405, INVALID_REQUEST, "method_not_allowed", message, headers={"allow": allowed})
    elif error.status_code == 404:
        problem = HttpProblem(404, INVALID_REQUEST, "unknown_url", explain_unknown_path(request.scope["path"]))
    else:
        problem = HttpProblem(400, INVALID_REQUEST, "invalid_json", "the body cannot be read")
    return await _on_problem(request, problem)


async def _on_exception(request: Request, error: Exception) -> Response:
    """Answer an unexpected error; FastAPI then raises it again, and the middleware logs it."""
    return await _on_problem(request, internal_error())
