"""Requests to the services that own the data; their refusals become HTTP problems."""

from collections.abc import Awaitable, Callable
from typing import NoReturn, Protocol

from nats.errors import Error as NatsError

from keyferry.contracts.channels import Q, R
from keyferry.contracts.service import ErrorCode, Refusal, ServiceReport
from keyferry.contracts.tenancy import GetTenant
from keyferry.contracts.topology import TENANT_GET, Subject
from keyferry.runtime.bus.requests import BusError, Refused
from keyferry.runtime.http.problem import INVALID_REQUEST, HttpProblem
from services.console.problem import not_found

USUAL_SECONDS = 5.0
KEY_TEST_SECONDS = 90.0
"""A key test calls the provider several times, and a second worker if the first one is gone."""
WHOLE_AUDIT_SECONDS = 300.0
ALL_RECORDS_SECONDS = 300.0
"""Decrypting a record takes a hundredth of a millisecond; a remote KEK provider adds its own time."""
SEND_SECONDS = 40.0
"""A test or a report waits for the answer of a mail server, a chat or an endpoint."""
SUMMARY_SECONDS = 30.0
RULES_SECONDS = 60.0
"""A dry run plans a thousand past requests twice, in short slices."""
CHECK_SECONDS = 60.0
"""Stripe is asked for each payment of 90 days."""
RECONCILE_SECONDS = 300.0
STRIPE_SECONDS = 30.0
"""Stripe usually answers within a second; opening a page takes up to four calls."""
STRIPE_SYNC_SECONDS = 120.0
PROBE_SECONDS = 20.0
"""A worker tries an address for at most ten."""

_PROBLEMS: dict[ErrorCode, tuple[int, str, str, dict[str, str]]] = {
    ErrorCode.INVALID: (422, INVALID_REQUEST, "refused", {}),
    ErrorCode.NOT_FOUND: (404, INVALID_REQUEST, "not_found", {}),
    ErrorCode.CONFLICT: (409, INVALID_REQUEST, "conflict", {"x-should-retry": "false"}),
    ErrorCode.UNAVAILABLE: (503, "overloaded_error", "unavailable", {"retry-after": "1"}),
    ErrorCode.INTERNAL: (500, "api_error", "internal_error", {"x-should-retry": "false"}),
}
"""Status, type, code and headers for each refusal."""


CollectReports = Callable[[], Awaitable[list[ServiceReport]]]
"""Asks every process of every service for its report, and returns those that arrive in time."""


class Ask(Protocol):
    """A management request over the bus: `Bus.ask`."""

    async def __call__(self, subject: Subject[Q, R], question: Q, *, timeout_seconds: float) -> R:
        """Return the owner's answer. Raises Refused, and BusError if no service answers."""


class ServiceClient:
    """Sends management requests for the routes. Both methods raise HttpProblem."""

    def __init__(self, ask: Ask, collect: CollectReports | None = None) -> None:
        self._ask = ask
        self._collect = collect

    async def read(
        self,
        subject: Subject[Q, R],
        question: Q,
        *,
        timeout_seconds: float = USUAL_SECONDS,
    ) -> R:
        """Send a request that changes nothing and may be repeated."""
        return await self._send(subject, question, timeout_seconds, "", {"retry-after": "1"})

    async def change(
        self,
        subject: Subject[Q, R],
        question: Q,
        *,
        timeout_seconds: float = USUAL_SECONDS,
    ) -> R:
        """Send a request that may have taken effect even if its answer never arrives."""
        unknown = "; the change may have been made: look at it before you try again"
        return await self._send(subject, question, timeout_seconds, unknown, {"x-should-retry": "false"})

    async def collect_reports(self) -> list[ServiceReport]:
        """Return the reports of the processes that answer, by service and slot."""
        if self._collect is None:
            raise _unavailable(BusError("no process can be asked"), "", {"retry-after": "1"})
        try:
            reports = await self._collect()
        except (BusError, NatsError) as error:
            raise _unavailable(error, "", {"retry-after": "1"}) from None
        return sorted(reports, key=lambda report: (report.service, report.slot, report.instance_id))

    async def require_tenant(self, tenant: str) -> None:
        """Raise HttpProblem 404 if there is no such tenant. Without an answer nothing is known, and nothing is raised.

        The management API goes on for existing tenants while the directory is away.
        """
        try:
            await self._ask(TENANT_GET, GetTenant(tenant=tenant), timeout_seconds=USUAL_SECONDS)
        except Refused as error:
            if error.refusal.code is ErrorCode.NOT_FOUND:
                raise not_found(error.refusal.message) from None
        except (BusError, NatsError):
            return

    async def _send(
        self, subject: Subject[Q, R], question: Q, timeout_seconds: float, then: str, headers: dict[str, str]
    ) -> R:
        """Return the answer. `then` and `headers` go into the problem if none arrives."""
        try:
            return await self._ask(subject, question, timeout_seconds=timeout_seconds)
        except Refused as error:
            _raise_refusal(error.refusal)
        except (BusError, NatsError) as error:
            raise _unavailable(error, then, headers) from None


def _raise_refusal(refusal: Refusal) -> NoReturn:
    status, kind, code, headers = _PROBLEMS[refusal.code]
    raise HttpProblem(status, kind, code, refusal.message, headers=dict(headers)) from None


def _unavailable(error: BusError | NatsError, consequence: str, headers: dict[str, str]) -> HttpProblem:
    """Return a 503. The bus library's own error text belongs in the log, not in the response."""
    detail = str(error) if isinstance(error, BusError) else "the bus does not answer"
    return HttpProblem(503, "overloaded_error", "unavailable", detail + consequence, headers=headers)
