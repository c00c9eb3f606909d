"""The connection of a command: the operator's to the bus, or a signed-in member's over HTTP (`member_connection`)."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Protocol, TypeVar

import click
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import AuthorizationError
from nats.errors import Error as NatsError
from nkeys import NkeysError

from keyferry.cli.installation import START_IT, Installation, locate
from keyferry.cli.member_connection import choose_session, member, require_operator
from keyferry.cli.problem import Problem
from keyferry.contracts.access_management import ACCESS_RECORD, RecordAccess
from keyferry.contracts.audit import CommandChannel, CommandSource
from keyferry.contracts.channels import Q, R
from keyferry.contracts.envelope import MalformedMessage
from keyferry.contracts.server_health import ServerHealth, parse_server_health
from keyferry.contracts.service import Ping, ServiceReport
from keyferry.contracts.tenancy import PLATFORM_TENANT, ListTenants
from keyferry.contracts.topology import SERVER_HEALTH, SERVICE_PING, TENANT_LIST, Role, Subject, inbox_prefix
from keyferry.runtime.bus import requests as bus
from keyferry.runtime.bus.servers import (
    bus_tls_of_environment,
    connect_once,
    describe_tls_error,
    server_urls,
    tls_options,
)
from keyferry.runtime.command_source import source_scope
from keyferry.runtime.concurrency import cancel_and_wait
from keyferry.runtime.process.settings import SettingsError, read_grant_key, read_nkey_seed, without_credentials
from keyferry.runtime.request.inbox import CallInbox
from keyferry.runtime.tls.certificates import UnusableCertificate
from keyferry.runtime.tls.context import ReloadingContext

T = TypeVar("T")

REPORT_SECONDS = 0.5
_CONNECT_SECONDS = 3
_RETRY_SECONDS = 0.1
_ASK_SECONDS = 20.0
"""Long, since a disk that is busy can hold up a service for seconds. One that does not run is noticed at once."""
_DIRECTORY_SECONDS = 2.0
_MAX_NAMED = 20


class Connection(Protocol):
    """What most commands need: management requests."""

    async def ask(self, subject: Subject[Q, R], question: Q, *, timeout_seconds: float = _ASK_SECONDS) -> R:
        """Send a management request. Raises Refused, BusError if nobody answers, and Problem if it is not permitted."""


class Violations:
    """The server's permission errors, which arrive asynchronously."""

    def __init__(self) -> None:
        self._last = ""
        self._next = asyncio.Event()

    def add(self, violation: str) -> None:
        """Record one, and wake everybody who waits for the next."""
        self._last = violation
        self._next.set()
        self._next = asyncio.Event()

    async def wait_for_next(self) -> str:
        """Wait for a violation that is not there yet, and return it."""
        await self._next.wait()
        return self._last


class OperatorConnection:
    """A connected operator. `violations` gets the server's permission errors; the key in `grant_key_file` signs for chats."""

    def __init__(self, client: Client, violations: Violations, grant_key_file: Path | None = None) -> None:
        self.client = client
        self._grant_key_file = grant_key_file
        self._violations = violations
        self._prefix = inbox_prefix(Role.OPERATOR.value)

    async def ask(self, subject: Subject[Q, R], question: Q, *, timeout_seconds: float = _ASK_SECONDS) -> R:
        """Send a management request. Raises Refused, BusError if no service answers, and Problem if it is not permitted."""
        asking = asyncio.create_task(bus.ask(self.client, subject, question, timeout_seconds=timeout_seconds))
        violation = asyncio.create_task(self._violations.wait_for_next())
        try:
            await asyncio.wait((asking, violation), return_when=asyncio.FIRST_COMPLETED)
            if not asking.done():
                raise Problem(
                    f"the bus does not permit {subject.name}: {violation.result()}",
                    "Use the operator's seed (KEYFERRY_NATS_NKEY_FILE). If you do, the server's permissions are of another"
                    " version: `make up` renders them again",
                )
            return asking.result()
        finally:
            await cancel_and_wait(asking)
            await cancel_and_wait(violation)

    async def open_caller(self) -> CallInbox:
        """Open an inbox for chat answers. Raises Problem for a key that signs nothing."""
        file = self._grant_key_file
        try:
            grants = None if file is None else read_grant_key(file, Role.OPERATOR.value)
        except SettingsError as error:
            raise Problem(str(error), "KEYFERRY_GRANT_KEY_FILE names the operator's key") from None
        caller = CallInbox(self.client, self._prefix, secrets.token_hex(8), grants)
        await caller.start()
        return caller

    async def collect_reports(self, within_seconds: float = REPORT_SECONDS) -> list[ServiceReport]:
        """Return the reports that arrive within that time, sorted by service and slot. Malformed ones are ignored."""
        reports: list[ServiceReport] = []
        for reply in await self._collect(SERVICE_PING.format(), Ping().encode(), within_seconds):
            try:
                reports.append(ServiceReport.decode(reply))
            except MalformedMessage:
                continue  # this includes the server's empty "no responders" message
        return sorted(reports, key=lambda report: (report.service, report.slot, report.instance_id))

    async def collect_server_health(self, within_seconds: float = REPORT_SECONDS) -> list[ServerHealth]:
        """Return the health of every NATS server that answers within that time, sorted by name; none if none can be asked."""
        replies = await self._collect(SERVER_HEALTH, b"", within_seconds)
        found = [health for reply in replies if (health := parse_server_health(reply)) is not None]
        return sorted(found, key=lambda health: health.server)

    async def _collect(self, subject: str, question: bytes, within_seconds: float) -> list[bytes]:
        replies: list[bytes] = []

        async def on_reply(message: Msg) -> None:
            replies.append(message.data)

        inbox = f"{self._prefix}.{secrets.token_hex(8)}"
        subscription = await self.client.subscribe(inbox, cb=on_reply)
        await self.client.publish(subject, question, reply=inbox)
        await self.client.flush()
        await asyncio.sleep(within_seconds)  # the number of those who answer is unknown, so collect for a fixed time
        await subscription.unsubscribe()
        return replies


@asynccontextmanager
async def operator(installation: Installation) -> AsyncIterator[OperatorConnection]:
    """Connect as the operator. Raises Problem if there is no server, or if it rejects the credentials."""
    violations = Violations()
    client = await _connect(installation.nats_url, installation.nkey_file, violations)
    try:
        yield OperatorConnection(client, violations, installation.grant_key_file)
    finally:
        await client.close()


def run(
    work: Callable[[Connection], Awaitable[T]],
    installation: Installation | None = None,
    *,
    tenant: str | None = None,
) -> T:
    """Run `work` with a connection, and close the connection: to `installation`, or as `choose_session` decides.

    Name the tenant that the command is about: raises Problem if there is no such tenant, where a service might answer with an
    empty list. For members the console decides, for whom there is no tenant but their own.
    """
    session = None if installation is not None else choose_session()
    if session is None:
        return run_as_operator(work, installation, tenant=tenant)

    async def run_signed_in() -> T:
        async with member(session) as me:
            return await work(me)

    return asyncio.run(run_signed_in())


def run_as_operator(
    work: Callable[[OperatorConnection], Awaitable[T]],
    installation: Installation | None = None,
    *,
    tenant: str | None = None,
    what: str = "this command needs the operator's connection to the bus",
    instead: str = "",
) -> T:
    """Run `work` with the operator's connection to `installation` (default: the one here), and close the connection.

    Raises Problem where a member's session is used: `what` says why that does not do, `instead` what members do.
    """
    if installation is None:
        require_operator(what, instead)

    async def run_connected() -> T:
        with source_scope(CommandSource(channel=CommandChannel.CLI)):
            return await work_connected()

    async def work_connected() -> T:
        async with operator(installation or locate()) as me:
            if tenant is not None:
                await require_tenant(me, tenant)
                await _record_access(me, tenant)
            return await work(me)

    return asyncio.run(run_connected())


async def require_tenant(me: Connection, tenant: str) -> None:
    """Raise Problem if there is no such tenant. Passes if the tenant directory does not answer, so that others still can."""
    try:
        known = (await me.ask(TENANT_LIST, ListTenants(), timeout_seconds=_DIRECTORY_SECONDS)).tenants
    except (bus.BusError, bus.Refused):
        return
    names = [one.tenant for one in known]
    if tenant not in names:
        shown = ", ".join(names[:_MAX_NAMED]) + (" and more" if len(names) > _MAX_NAMED else "")
        raise Problem(
            f"there is no tenant {tenant!r}",
            f"The tenants are {shown}; `keyferry tenants create` adds one",
        )


async def _record_access(me: Connection, tenant: str) -> None:
    """Record in the tenant's audit log that the operator uses this command on it.

    Passes if the tenant directory does not answer: the operator's credential could use the bus without this program as well.
    """
    context = click.get_current_context(silent=True)
    if context is None or tenant == PLATFORM_TENANT:
        return
    _, _, words = context.command_path.partition(" ")
    access = RecordAccess(tenant=tenant, actor="operator", resource=words.partition(" ")[0], source="bus")
    with suppress(bus.BusError, bus.Refused, Problem):
        await me.ask(ACCESS_RECORD, access, timeout_seconds=_DIRECTORY_SECONDS)


async def _connect(url: str, nkey_file: Path | None, violations: Violations) -> Client:
    async def on_error(error: Exception) -> None:
        """Record permission errors; without a callback nats-py would print tracebacks."""
        if "permissions violation" in str(error).lower():
            violations.add(str(error))

    seed = _read_seed(nkey_file)
    urls = server_urls(url)
    tls = _read_tls(urls)
    try:
        return await connect_once(
            urls,
            **tls_options(tls),
            nkeys_seed_str=seed,
            inbox_prefix=inbox_prefix(Role.OPERATOR.value).encode(),
            name="keyferry-cli",
            reconnect_time_wait=_RETRY_SECONDS,
            connect_timeout=_CONNECT_SECONDS,
            error_cb=on_error,
        )
    except AuthorizationError:
        raise _reject_credentials(url, nkey_file) from None
    except NkeysError:
        raise Problem(
            f"{nkey_file} holds no nkey seed", "Set KEYFERRY_NATS_NKEY_FILE to the operator's seed file"
        ) from None
    except (OSError, NatsError, TimeoutError) as error:
        if "authorization violation" in str(error).lower():
            raise _reject_credentials(url, nkey_file) from None
        if tls is not None and (problem := describe_tls_error(error)) is not None:
            raise Problem(f"NATS at {without_credentials(url)} cannot be used", problem) from None
        raise Problem(
            f"NATS does not answer at {without_credentials(url)}", f"{START_IT}, or set KEYFERRY_NATS_URL"
        ) from None


def _read_tls(urls: list[str]) -> ReloadingContext | None:
    try:
        return bus_tls_of_environment(urls)
    except UnusableCertificate as error:
        raise Problem(f"TLS to NATS: {error}", "Set KEYFERRY_NATS_CA_FILE to the authorities in PEM format") from None


def _read_seed(nkey_file: Path | None) -> str | None:
    if nkey_file is None:
        return None
    try:
        with nkey_file.open("rb"):
            pass
        return read_nkey_seed(nkey_file).reveal()
    except OSError as error:
        # The value is not repeated: it may be the seed itself instead of the path of its file.
        raise Problem(
            f"cannot read the file with the operator's seed: {error.strerror}",
            "Run this as the user who started the installation, or set KEYFERRY_NATS_NKEY_FILE to the path of the file",
        ) from None
    except SettingsError:
        raise Problem(
            f"{nkey_file} holds no nkey seed", "Set KEYFERRY_NATS_NKEY_FILE to the operator's seed file"
        ) from None


def _reject_credentials(url: str, nkey_file: Path | None) -> Problem:
    credentials = f"the operator's seed {nkey_file}" if nkey_file else "a connection without credentials"
    return Problem(
        f"NATS at {without_credentials(url)} does not accept {credentials}",
        "Set KEYFERRY_NATS_NKEY_FILE to the operator's seed of this installation; `make up` renders the server's users again",
    )
