"""The doctor's checks over the bus: every service, the KEK's age, one chat, its records in the ledger, the clocks."""

from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime, timedelta

from nats.errors import Error as NatsError

from keyferry.cli.chat_request import ChatResult, build_body, build_request, send_chat
from keyferry.cli.connection import OperatorConnection, require_tenant
from keyferry.cli.problem import Finding, Problem
from keyferry.cli.request_trace import TRACE_TIMEOUT_SECONDS, RequestTrace, fetch_trace, incomplete_trace
from keyferry.cli.terminal import format_days
from keyferry.contracts.server_health import ServerHealth
from keyferry.contracts.service import ServiceReport
from keyferry.contracts.topology import CONSUMERS, KEK_ROTATE, SERVICES, Role
from keyferry.contracts.vault import KekAgeReport, RotateKek
from keyferry.runtime.bus.requests import BusError, Refused

MAX_SKEW = timedelta(milliseconds=500)
"""Half of the second within which a provider call must start (`contracts.chat.START_WITHIN_MS`)."""
_ECHO = "echo"
_KEK = "KEK"


async def check_bus(operator: OperatorConnection, tenant: str, worker_slots: int) -> AsyncIterator[Finding]:
    """Check everything over the bus. Makes one chat request as `tenant` to the built-in echo."""
    try:
        round_trip_seconds = await operator.client.rtt()
    except NatsError:
        yield Finding("bus", "the connection was lost", "Look at the log of nats, and run this again")
        return
    yield Finding("bus", f"NATS answers in {round_trip_seconds * 1000:.1f} ms and accepts the operator")
    for server in await operator.collect_server_health():
        yield check_server(server)
    reports = await operator.collect_reports()
    for finding in check_services(reports, worker_slots):
        yield finding
    if any(report.service == Role.KEY_VAULT.value and report.ready for report in reports):
        yield await _check_kek(operator)
    try:
        await require_tenant(operator, tenant)
    except Problem as unknown:
        yield Finding("tenant", f"{unknown.what}, so no chat request was made", unknown.remedy)
        return
    async for finding in _check_request(operator, tenant):
        yield finding


def check_server(server: ServerHealth) -> Finding:
    """Check that a NATS server stores what is published to its streams."""
    subject = f"nats {server.server}"
    if not server.error:
        return Finding(subject, "its streams store messages")
    if server.needs_restart:
        return Finding(
            subject,
            f"it stores no messages: {server.error}",
            "Free up disk space. `make up` then restarts its server within seconds; restart any other yourself, as it does not"
            " store again by itself. Until then attempts stay in the workers' spools",
        )
    return Finding(subject, server.error, "Look at the log of nats")


def check_services(reports: Sequence[ServiceReport], worker_slots: int) -> Iterator[Finding]:
    """Check that each service runs in every slot and is ready."""
    for role in SERVICES:
        own = [report for report in reports if report.service == role.value]
        expected = range(1, worker_slots + 1) if role is Role.PROVIDER_WORKER else range(1, 2)
        absent = [slot for slot in expected if slot not in {report.slot for report in own}]
        if absent and role is Role.PROVIDER_WORKER:
            slots = ", ".join(map(str, absent))
            yield Finding(role.value, f"slot {slots} does not answer", _remedy(role))
        elif absent:
            yield Finding(role.value, "does not answer", _remedy(role))
        for report in own:
            yield _check_service(role, report)
            for why in report.degraded:
                what, _, remedy = why.partition(": ")
                yield Finding(role.value, what, remedy or _remedy(role))


def check_kek_age(kek: KekAgeReport) -> Finding:
    """Check that no KEK is older than the operator's limit."""
    age = f"{kek.kek} is {format_days(kek.age_days)} old"
    if kek.overdue:
        return Finding(_KEK, f"{age} and overdue for rotation", kek.detail)
    return Finding(_KEK, f"{age}; {kek.detail}")


def check_clock(before: datetime, decided_at: datetime, after: datetime) -> Finding:
    """Check that the router's clock agrees with ours: it decided between two times of our clock."""
    skew = max(before - decided_at, decided_at - after, timedelta(0))
    if skew > MAX_SKEW:
        return Finding(
            "clock",
            f"the router's clock and this one differ by {skew / timedelta(milliseconds=1):.0f} ms or more",
            "Synchronise the clocks of all machines (NTP): otherwise requests are refused as too late",
        )
    return Finding("clock", "the router's clock agrees with this one")


def check_chat(result: ChatResult, text: str, tenant: str) -> Finding:
    """Check that the echo is complete and unchanged."""
    if result.failure is not None:
        failure = result.failure.failure
        return Finding(
            "chat",
            f"{tenant} got no answer from {_ECHO}: {failure.message} ({failure.failure_class})",
            "Repair the services above; `keyferry tenants list` shows the tenants, --tenant chooses one",
        )
    if text not in result.answer.text:
        return Finding("chat", "the echo is not what was sent", "Look at the log of provider-worker")
    return Finding("chat", f"{tenant} got a complete answer from {_ECHO}")


def check_ledger(trace: RequestTrace, result: ChatResult) -> Finding:
    """Check that the decision and the attempts reached the ledger through their streams."""
    streams = ", ".join(consumer.stream for consumer in CONSUMERS if consumer.subscriber is Role.USAGE_LEDGER)
    if missing := trace.missing(result.attempts):
        problem = incomplete_trace(missing, TRACE_TIMEOUT_SECONDS)
        return Finding(
            "ledger",
            problem.what,
            f"Repair what is named above; otherwise look at the log of {Role.USAGE_LEDGER}, which reads the streams {streams}",
        )
    ids = ", ".join(row.record.attempt_id for row in trace.attempts) or "no attempt"
    return Finding("ledger", f"the request's records arrived through the streams {streams}: {ids}")


async def _check_kek(operator: OperatorConnection) -> Finding:
    try:
        rotation = await operator.ask(KEK_ROTATE, RotateKek(start=False))
    except (BusError, Refused) as error:
        return Finding(_KEK, f"its age is unknown: {error}", _remedy(Role.KEY_VAULT))
    if rotation.oldest_kek is None:
        return Finding(_KEK, "this vault does not report its age")
    return check_kek_age(rotation.oldest_kek)


async def _check_request(operator: OperatorConnection, tenant: str) -> AsyncIterator[Finding]:
    text = "keyferry doctor"
    body = build_body(text, _ECHO, stream=True)
    head = build_request(tenant, _ECHO, body, stream=True, tags={"purpose": "doctor"})
    before = datetime.now(UTC)
    result = await send_chat(operator, head, body, lambda _: None)
    after = datetime.now(UTC)
    yield check_chat(result, text, tenant)
    try:
        trace = await fetch_trace(operator, tenant, head.request_id, result.attempts, TRACE_TIMEOUT_SECONDS)
    except (BusError, Refused) as error:
        yield Finding("ledger", str(error), _remedy(Role.USAGE_LEDGER))
        return
    yield check_ledger(trace, result)
    if trace.decision is not None:
        yield check_clock(before, trace.decision.decided_at, after)


def _check_service(role: Role, report: ServiceReport) -> Finding:
    subject = f"{role.value}, slot {report.slot}" if role is Role.PROVIDER_WORKER else role.value
    if report.ready:
        return Finding(subject, f"ready, version {report.version}, pid {report.pid}")
    return Finding(subject, f"waiting for {', '.join(report.waiting_for)}", _remedy(role))


def _remedy(role: Role) -> str:
    return f"Look at the log of {role.value}; `keyferry restart {role.value}` starts it again"
