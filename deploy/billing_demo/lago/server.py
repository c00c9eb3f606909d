"""The double of Lago as an HTTP server."""

import asyncio
import hmac
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web

from deploy.billing_demo.faults import AFTER_EFFECT, FailureKind, FailurePlan, PlannedFailure
from deploy.billing_demo.lago import customers, usage, wallets
from deploy.billing_demo.lago.problem import JsonObject, LagoApiProblem
from deploy.billing_demo.lago.routes import LagoCall, LagoRoute
from deploy.billing_demo.lago.state import LagoAccount, new_id

ROUTES: tuple[LagoRoute, ...] = (*customers.ROUTES, *usage.ROUTES, *wallets.ROUTES)
LOOPBACK = "127.0.0.1"
_MAX_BODY = 5_000_000
_PREFIX = "/api/v1"
LagoObserver = Callable[[str, str, Any, int, JsonObject], None]
"""Gets the method, the path, the body, the status and the answer of each request: for checks in tests."""


@dataclass
class LagoDouble:
    """One organisation of Lago on a loopback address. `async with` starts and stops it; port 0 takes a free one.

    It has the plan `keyferry` and the metric `llm_tokens`, which the guide of billing asks operators to add.
    """

    port: int = 0
    api_key: str = field(default_factory=lambda: str(secrets.token_hex(18)))
    state: LagoAccount = field(default_factory=LagoAccount)
    failures: FailurePlan = field(default_factory=FailurePlan)
    observers: list[LagoObserver] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._runner: web.AppRunner | None = None
        self.requests: list[tuple[str, str]] = []
        """Method and path of each request, in order."""
        metric = {"name": "Tokens", "code": "llm_tokens", "aggregation_type": "sum_agg", "field_name": "tokens"}
        usage.save_metric(LagoCall(self.state, {"billable_metric": metric}))
        plan = {"name": "Keyferry", "code": "keyferry", "interval": "monthly", "amount_currency": "USD"}
        customers.save_plan(LagoCall(self.state, {"plan": plan}))

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://{LOOPBACK}:{self.port}"

    async def __aenter__(self) -> Self:
        application = web.Application(client_max_size=_MAX_BODY)
        application.router.add_route("*", _PREFIX + "/{rest:.*}", self._answer)
        application.router.add_post("/demo/failures", self._plan_failure)
        self._runner = web.AppRunner(application, access_log=None, handle_signals=False, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, LOOPBACK, self.port).start()
        self.port = int(self._runner.addresses[0][1])
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _plan_failure(self, request: web.Request) -> web.StreamResponse:
        given = await request.json()
        self.failures.add(PlannedFailure(**{**given, "kind": FailureKind(given["kind"])}))
        return web.json_response({})

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        text = await request.text()
        path = request.path.removeprefix(_PREFIX)
        self.requests.append((request.method, path))
        late = self.failures.take(request.method, path, after_effect=True)
        try:
            status, answer = 200, self._run(request, path, text)
        except LagoApiProblem as problem:
            status, answer = problem.status, problem.to_json()
        if late is not None and late.kind is FailureKind.LOST_ANSWER and request.transport is not None:
            request.transport.abort()
        if late is not None and late.kind is FailureKind.LATE_ANSWER:
            await asyncio.sleep(late.seconds)
        headers = {"x-request-id": new_id()}
        if status == 429:
            headers |= {"x-ratelimit-limit": "100", "x-ratelimit-remaining": "0", "x-ratelimit-reset": "1"}
        return web.Response(
            status=status, body=json.dumps(answer).encode(), headers=headers, content_type="application/json"
        )

    def _run(self, request: web.Request, path: str, text: str) -> JsonObject:
        kind, _, key = request.headers.get("Authorization", "").partition(" ")
        if kind.lower() != "bearer" or not hmac.compare_digest(key.strip().encode(), self.api_key.encode()):
            raise LagoApiProblem(401, "Unauthorized")
        failure = self.failures.take(request.method, path, after_effect=False)
        if failure is not None and failure.kind not in AFTER_EFFECT:
            if failure.kind is FailureKind.RATE_LIMIT:
                raise LagoApiProblem(429, "Too Many Requests", "rate_limit_exceeded")
            raise LagoApiProblem(500, "Internal Server Error")
        route, ids = _find_route(request.method, path)
        body = _parse(text)
        queries = {name: request.query.getall(name) for name in request.query}
        call = LagoCall(self.state, body, ids, {name: found[-1] for name, found in queries.items()}, queries)
        answer = route.answer(call)
        for observer in self.observers:
            observer(request.method, path, body, 200, answer)
        return answer


def _parse(text: str) -> Any:
    try:
        return json.loads(text) if text else None
    except json.JSONDecodeError:
        raise LagoApiProblem(400, "Bad Request", "parse_error") from None


def _find_route(method: str, path: str) -> tuple[LagoRoute, tuple[str, ...]]:
    for route in ROUTES:
        if route.method == method and (found := route.pattern.fullmatch(path)):
            return route, found.groups()
    raise LagoApiProblem(404, "Not Found")
