"""The doctor's checks over the bus: every service, the KEK's age, one chat, its way into the ledger, the clocks."""

from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime, timedelta

from nats.errors import Error as NatsError

from keyferry.cli.chat_request import ChatResult, body, exchange, request
from keyferry.cli.connection import OperatorConnection
from keyferry.cli.finding import Finding
from keyferry.cli.request_trace import RequestTrace, fetch_trace, incomplete_trace
from keyferry.cli.terminal import days
from keyferry.contracts.key import KekAgeReport, RotateKek
from keyferry.contracts.service import ServiceReport
from keyferry.contracts.topology import CONSUMERS, KEK_ROTATE, SERVICES, Role
from keyferry.runtime.bus.requests import BusError, Refused

MAX_SKEW = timedelta(milliseconds=500)
"""Half of the second within which a provider call has to begin (`contracts.chat.START_WITHIN_MS`)."""
_ECHO = "echo"
_KEK = "KEK"


async def check_bus(operator: OperatorConnection, tenant: str, worker_slots: int) -> AsyncIterator[Finding]:
    """Everything that can be seen over the bus. Makes one chat request as `tenant` to the built-in echo."""
    try:
        round_trip_seconds = await operator.client.rtt()
    except NatsError:
        yield Finding("bus", "the connection was lost", "Look at the log of nats, and run this again")
        return
    yield Finding("bus", f"NATS answers in {round_trip_seconds * 1000:.1f} ms and accepts the operator")
    reports = await operator.roll_call()
    for finding in check_services(reports, worker_slots):
        yield finding
    if any(report.service == Role.KEY_VAULT.value and report.ready for report in reports):
        yield await _kek(operator)
    async for finding in _journey(operator, tenant):
        yield finding


def check_services(reports: Sequence[ServiceReport], worker_slots: int) -> Iterator[Finding]:
    """For each service: whether it is there, in every slot, and ready."""
    for role in SERVICES:
        own = [report for report in reports if report.service == role.value]
        expected = range(1, worker_slots + 1) if role is Role.PROVIDER_WORKER else range(1, 2)
        absent = [slot for slot in expected if slot not in {report.slot for report in own}]
        if absent and role is Role.PROVIDER_WORKER:
            slots = ", ".join(map(str, absent))
            yield Finding(role.value, f"slot {slots} does not answer", _look_at(role))
        elif absent:
            yield Finding(role.value, "does not answer", _look_at(role))
        for report in own:
            yield _service(role, report)


def check_kek_age(term: KekAgeReport) -> Finding:
    """Whether the KEKs are as young as the operator wants them."""
    age = f"{term.kek} is {days(term.age_days)} old"
    if term.overdue:
        return Finding(_KEK, f"{age} and overdue for rotation", term.detail)
    return Finding(_KEK, f"{age}; {term.detail}")


def check_clock(before: datetime, decided_at: datetime, after: datetime) -> Finding:
    """Whether the router's clock agrees with ours: it decided between two moments of ours."""
    skew = max(before - decided_at, decided_at - after, timedelta(0))
    if skew > MAX_SKEW:
        return Finding(
            "clock",
            f"the router's clock and this one differ by {skew / timedelta(milliseconds=1):.0f} ms or more",
            "Synchronise the clocks of all machines (NTP): requests are refused as too late otherwise",
        )
    return Finding("clock", "the router's agrees with this one")


def check_chat(chat_result: ChatResult, text: str, tenant: str) -> Finding:
    """Whether the echo came back whole."""
    if chat_result.failure is not None:
        failure = chat_result.failure.failure
        return Finding(
            "chat",
            f"{tenant} got no answer from {_ECHO}: {failure.message} ({failure.failure_class})",
            "See to the services above; `keyferry tenants list` shows the tenants, --tenant chooses one",
        )
    if text not in chat_result.answer.text:
        return Finding("chat", "the echo came back changed", "Look at the log of provider-worker")
    return Finding("chat", f"{tenant} got a whole answer from {_ECHO}")


def check_ledger(trace: RequestTrace, chat_result: ChatResult) -> Finding:
    """Whether decision and attempt took their streams into the ledger."""
    streams = ", ".join(consumer.stream for consumer in CONSUMERS if consumer.subscriber is Role.USAGE_LEDGER)
    if missing := trace.missing(chat_result.attempts):
        problem = incomplete_trace(missing)
        return Finding(
            "ledger",
            problem.what,
            f"Look at the log of {Role.USAGE_LEDGER}; the streams {streams} may be missing: `make up`",
        )
    ids = ", ".join(row.record.attempt_id for row in trace.attempts) or "no attempt"
    return Finding("ledger", f"the request arrived by the streams {streams}: {ids}")


async def _kek(operator: OperatorConnection) -> Finding:
    try:
        far = await operator.ask(KEK_ROTATE, RotateKek(start=False))
    except (BusError, Refused) as error:
        return Finding(_KEK, f"its age could not be asked: {error}", _look_at(Role.KEY_VAULT))
    if far.term is None:
        return Finding(_KEK, "this vault does not tell its age")
    return check_kek_age(far.term)


async def _journey(operator: OperatorConnection, tenant: str) -> AsyncIterator[Finding]:
    text = "keyferry doctor"
    head = request(tenant, _ECHO, stream=True, tags={"purpose": "doctor"})
    before = datetime.now(UTC)
    chat_result = await exchange(operator, head, body(text, _ECHO, stream=True), lambda _: None)
    after = datetime.now(UTC)
    yield check_chat(chat_result, text, tenant)
    try:
        trace = await fetch_trace(operator, tenant, head.request_id, chat_result.attempts)
    except (BusError, Refused) as error:
        yield Finding("ledger", str(error), _look_at(Role.USAGE_LEDGER))
        return
    yield check_ledger(trace, chat_result)
    if trace.decision is not None:
        yield check_clock(before, trace.decision.decided_at, after)


def _service(role: Role, report: ServiceReport) -> Finding:
    where = f"{role.value}, slot {report.slot}" if role is Role.PROVIDER_WORKER else role.value
    if report.ready:
        return Finding(where, f"ready, version {report.version}, pid {report.pid}")
    return Finding(where, f"waits for {', '.join(report.waiting_for)}", _look_at(role))


def _look_at(role: Role) -> str:
    return f"Look at the log of {role.value}; `keyferry restart {role.value}` starts it anew"
