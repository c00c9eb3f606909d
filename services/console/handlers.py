"""The HTTP doors: the routes, under the credential's own tenant and under the tenant that an operator names."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Literal

from fastapi import Depends, FastAPI, Request, Response, params
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from fastapi.telemetry import TelemetryConfig
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from keyferry.contracts.envelope import Message
from keyferry.contracts.topology import Subject
from keyferry.runtime.bus.connection import BusError
from services.console.access import OPERATOR_PREFIX, OWN_PREFIX
from services.console.acting import DOCUMENTED_CREDENTIAL, tenant_in_path
from services.console.asking import Answer, Ask, Questions
from services.console.door import REQUEST_ID, internal_error
from services.console.key_routes import KeyRoutes
from services.console.problem import INVALID_REQUEST, ErrorBody, Problem, error_body
from services.console.reading_routes import ReadingRoutes
from services.console.routing_table import Route
from services.console.sealing import Sealer
from services.console.validation import from_faults

_DESCRIPTION = (
    "Provider keys, providers, models and the audit. The tenant comes from the credential; an operator acts for a tenant under"
    " `/api/v1/ops/tenants/{tenant}`. Unknown fields are refused. Lists go on with `after`, which takes the `next` of the page"
    " before."
)
_ERRORS: Mapping[int | str, dict[str, object]] = {
    400: {"description": "It cannot be read, or names what does not exist", "model": ErrorBody},
    401: {"description": "No credential, or one that is not accepted", "model": ErrorBody},
    403: {"description": "The credential does not allow it", "model": ErrorBody},
    404: {"description": "There is no such thing", "model": ErrorBody},
    409: {"description": "Something else stands in the way", "model": ErrorBody},
    413: {"description": "The body is too large", "model": ErrorBody},
    422: {"description": "It makes no sense, or is refused; the message says why", "model": ErrorBody},
    503: {"description": "Whoever owns it does not answer now", "model": ErrorBody},
}
_WITHOUT_TELEMETRY = TelemetryConfig(
    auto_configure=False,
    tracing=False,
    metrics=False,
    logs=False,
    operation_spans=False,
    exclude=lambda _: True,
)
"""The framework would keep bodies and validation errors, provider keys included, for whatever telemetry is in the process."""


class Health(BaseModel):
    """Whether the process lives."""

    status: Literal["ok"] = "ok"


class Readiness(BaseModel):
    """Whether requests should come here, and what is missing where they should not."""

    status: Literal["ready", "waiting", "draining"]
    waiting_for: Sequence[str]


def application(
    *,
    ask: Ask,
    sealer: Sealer,
    clock: Callable[[], datetime],
    waiting_for: Callable[[], list[str]],
    draining: Callable[[], bool],
) -> FastAPI:
    """The routes. They take a request only as `Door` hands it on: with its caller in the scope."""
    app = FastAPI(
        title="Keyferry management API",
        description=_DESCRIPTION,
        version=version("keyferry"),
        openapi_url=None,
        redirect_slashes=False,
        telemetry=_WITHOUT_TELEMETRY,
        generate_unique_id_function=_operation_id,
    )
    app.add_exception_handler(Problem, _on_problem)
    app.add_exception_handler(RequestValidationError, _on_faults)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(Exception, _on_defect)
    questions = Questions(ask)
    table = (*KeyRoutes(questions, sealer, clock).table(), *ReadingRoutes(questions).table())
    credential = Depends(DOCUMENTED_CREDENTIAL)
    _add(app, OWN_PREFIX, table, [credential])
    _add(app, OPERATOR_PREFIX, table, [credential, Depends(tenant_in_path)])
    _add_health(app, waiting_for, draining)
    return app


def document() -> dict[str, object]:
    """The OpenAPI document of the routes, made without a bus behind them."""

    async def nobody(subject: Subject, question: Message, answer: type[Answer], *, timeout_seconds: float) -> Answer:
        raise BusError("there is no bus behind a document")

    app = application(
        ask=nobody,
        sealer=Sealer(""),
        clock=lambda: datetime.now(UTC),
        waiting_for=list,
        draining=lambda: False,
    )
    return app.openapi()


def _add(app: FastAPI, prefix: str, table: Iterable[Route], dependencies: Sequence[params.Depends]) -> None:
    for row in table:
        app.add_api_route(
            prefix + row.path,
            row.handler,
            methods=[row.method],
            name=row.name,
            status_code=row.status,
            dependencies=dependencies,
            responses=dict(_ERRORS),
        )


def _add_health(app: FastAPI, waiting_for: Callable[[], list[str]], draining: Callable[[], bool]) -> None:
    async def healthz() -> Health:
        """Whether the process lives."""
        return Health()

    async def readyz(response: Response) -> Readiness:
        """Whether requests should come here: 503 where they should not."""
        waiting = waiting_for()
        status: Literal["ready", "waiting", "draining"] = (
            "draining" if draining() else "waiting" if waiting else "ready"
        )
        response.status_code = 200 if status == "ready" else 503
        return Readiness(status=status, waiting_for=waiting)

    app.add_api_route("/healthz", healthz, methods=["GET"], name="healthz")
    not_ready: dict[int | str, dict[str, object]] = {503: {"description": "Not ready", "model": Readiness}}
    app.add_api_route("/readyz", readyz, methods=["GET"], name="readyz", responses=not_ready)


def _operation_id(route: APIRoute) -> str:
    return f"{route.name}_for_tenant" if route.path.startswith(OPERATOR_PREFIX) else route.name


async def _on_problem(request: Request, problem: Exception) -> Response:
    assert isinstance(problem, Problem)
    body = error_body(problem, request.scope[REQUEST_ID])
    return Response(body, problem.status, headers=problem.headers, media_type="application/json")


async def _on_faults(request: Request, error: Exception) -> Response:
    """In place of the framework's own answer, which repeats what was sent."""
    assert isinstance(error, RequestValidationError)
    return await _on_problem(request, from_faults(error.errors()))


async def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    headers = dict(error.headers or {})
    if error.status_code == 405:
        allowed = headers.get("Allow", "other methods")
        problem = Problem(405, INVALID_REQUEST, "method_not_allowed", f"this address takes {allowed}", headers=headers)
    elif error.status_code == 404:
        problem = Problem(404, INVALID_REQUEST, "unknown_url", "there is nothing at this address")
    else:
        problem = Problem(400, INVALID_REQUEST, "invalid_json", "the body cannot be read")
    return await _on_problem(request, problem)


async def _on_defect(request: Request, error: Exception) -> Response:
    """The framework raises the error again after this answer, and the door logs it."""
    return await _on_problem(request, internal_error())
