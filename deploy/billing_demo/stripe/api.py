"""One request to the API of the double: its key, its parameters, its function, its answer."""

import hmac
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from deploy.billing_demo.faults import FailureKind, FailurePlan, PlannedFailure
from deploy.billing_demo.stripe import (
    accounts,
    catalog,
    charges,
    checkout,
    customers,
    disputes,
    events,
    invoices,
    payment_intents,
    payment_methods,
    refunds,
    subscriptions,
)
from deploy.billing_demo.stripe.form import parse_form
from deploy.billing_demo.stripe.idempotency import IdempotencyKeys, SavedAnswer
from deploy.billing_demo.stripe.listing import Includable, expand
from deploy.billing_demo.stripe.parameters import check_parameters
from deploy.billing_demo.stripe.problem import JsonObject, StripeApiError
from deploy.billing_demo.stripe.routes import StripeCall, StripeRoute
from deploy.billing_demo.stripe.state import EventCause, StripeState, api_version, random_text

_MODULES = (
    *(accounts, catalog, charges, checkout, customers, disputes, events, invoices, payment_intents, payment_methods),
    *(refunds, subscriptions),
)
ROUTES: tuple[StripeRoute, ...] = tuple(
    sorted((route for module in _MODULES for route in module.ROUTES), key=lambda route: route.path.count("{}"))
)
"""Paths without an id first, so that `/v1/prices/search` is no price."""
INCLUDABLE: dict[tuple[str, str], Includable] = {
    ("charge", "refunds"): charges.refunds_of,
    ("checkout.session", "line_items"): checkout.lines_of,
    ("invoice", "payments"): invoices.payments_of,
}


@dataclass(frozen=True, slots=True)
class StripeRequest:
    """What arrives: the method, the path, the form of the body or of the query, and the headers that count."""

    method: str
    path: str
    form: str
    key: str
    idempotency_key: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True)
class StripeAnswer:
    """The status, the body and the headers of an answer."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


Observer = Callable[[StripeRequest, int, JsonObject], None]
"""Gets each request with the answer's status and body: for checks in tests."""


@dataclass
class StripeApi:
    """Answers requests on the state of one account. `api_key` is the only key that it takes."""

    state: StripeState
    api_key: str
    failures: FailurePlan = field(default_factory=FailurePlan)
    keys: IdempotencyKeys = field(default_factory=IdempotencyKeys)
    observers: list[Observer] = field(default_factory=list)

    def answer(self, request: StripeRequest) -> StripeAnswer:
        """Return the answer to a request; its effect is complete when this returns."""
        request_id = f"req_{random_text(14)}"
        try:
            self._authenticate(request)
            saved = self._begin(request)
        except StripeApiError as problem:
            return self._finish(request, request_id, problem.status, problem.to_json())
        if saved is not None:
            headers = {"Idempotent-Replayed": "true", "Original-Request": saved.request_id}
            return StripeAnswer(saved.status, saved.answer, self._headers(request, request_id) | headers)
        self.state.cause = EventCause(request_id, request.idempotency_key or None)
        try:
            status, body = 200, self._run(request)
        except StripeApiError as problem:
            status, body = problem.status, problem.to_json()
            if not problem.saved:
                self.keys.forget(request.idempotency_key)
                return self._finish(request, request_id, status, body)
        finally:
            self.state.cause = EventCause()
        answer = self._finish(request, request_id, status, body)
        if request.idempotency_key and request.method != "GET":
            self.keys.finish(request.idempotency_key, status, answer.body, request_id)
        return answer

    def _authenticate(self, request: StripeRequest) -> None:
        if not request.key:
            raise StripeApiError(
                "You did not provide an API key. You need to provide your API key in the Authorization header, using Bearer auth"
                " (e.g. 'Authorization: Bearer YOUR_SECRET_KEY').",
                status=401,
            )
        if not hmac.compare_digest(request.key.encode(), self.api_key.encode()):
            shown = f"{request.key[:8]}{'*' * 8}{request.key[-4:]}"
            raise StripeApiError(f"Invalid API Key provided: {shown}", status=401)
        if request.version and request.version != api_version():
            raise StripeApiError(
                f"This double of Stripe knows the version {api_version()} of the API alone, not {request.version[:40]}."
            )

    def _begin(self, request: StripeRequest) -> SavedAnswer | None:
        if not request.idempotency_key or request.method == "GET":
            return None
        return self.keys.begin(request.idempotency_key, request.method, request.path, request.form, self.state.now)

    def _run(self, request: StripeRequest) -> JsonObject:
        try:
            failure = self.failures.take(request.method, request.path, after_effect=False)
            if failure is not None and (planned := _problem_of(failure)) is not None:
                raise planned
            route, ids = find_route(request.method, request.path)
            params = parse_form(request.form)
            if route.params:
                params = check_parameters(route.params, params)
        except StripeApiError as problem:
            problem.saved = False
            raise
        call = StripeCall(self.state, params, ids, request.path)
        found = route.answer(call)
        paths = params.get("expand") or []
        answer: JsonObject = expand(self.state, found, paths, INCLUDABLE)
        return answer

    def _finish(self, request: StripeRequest, request_id: str, status: int, body: JsonObject) -> StripeAnswer:
        for observer in self.observers:
            observer(request, status, body)
        return StripeAnswer(status, json.dumps(body, default=str).encode(), self._headers(request, request_id))

    def _headers(self, request: StripeRequest, request_id: str) -> dict[str, str]:
        headers = {"Request-Id": request_id, "Stripe-Version": api_version()}
        if request.idempotency_key:
            headers["Idempotency-Key"] = request.idempotency_key
        return headers


def find_route(method: str, path: str, routes: Iterable[StripeRoute] = ROUTES) -> tuple[StripeRoute, tuple[Any, ...]]:
    """Return the route of a request and the ids in its path. Raises StripeApiError if there is none."""
    for route in routes:
        if route.method == method and (found := route.pattern.fullmatch(path)):
            return route, found.groups()
    raise StripeApiError(
        f"Unrecognized request URL ({method}: {path}). Please see https://stripe.com/docs or we can help at"
        " https://support.stripe.com/.",
        status=404,
    )


def _problem_of(failure: PlannedFailure) -> StripeApiError | None:
    """Return the error of a failure that leaves a request without an effect."""
    match failure.kind:
        case FailureKind.RATE_LIMIT:
            return StripeApiError("Request rate limit exceeded.", status=429, code="rate_limit")
        case FailureKind.SERVER_ERROR:
            return StripeApiError("An unknown error occurred", status=500, error_type="api_error")
        case _:
            return None
