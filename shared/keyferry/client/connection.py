"""The connection of a tenant's own program to the bus."""

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from nats.aio.client import Client as NatsClient
from nats.errors import Error as NatsError
from nats.errors import NoRespondersError
from nkeys import NkeysError

from keyferry.client import credentials
from keyferry.client.client import DEFAULT_MAX_RETRIES, Client
from keyferry.client.errors import BadRequest, CannotConnect, ModelNotFound, build_error
from keyferry.contracts import ids
from keyferry.contracts.channels import Q, R, Subject
from keyferry.contracts.chat import ChatRequest, EmbeddingRequest, Probe
from keyferry.contracts.envelope import MalformedMessage
from keyferry.contracts.failure import Failure, FailureClass, Where
from keyferry.contracts.feedback import Feedback, SaveFeedback
from keyferry.contracts.route import ListModels, Models
from keyferry.contracts.routing_management import FEEDBACK_SAVE
from keyferry.contracts.service import ErrorCode, refusal_in
from keyferry.contracts.topology import MODEL_LIST, WORKER_PROBE, inbox_prefix, internal_client
from keyferry.runtime.bus.servers import bus_tls, bus_tls_of_environment, ping_seconds, server_urls, tls_options
from keyferry.runtime.bus.servers import connect as open_connection
from keyferry.runtime.request.call import Call
from keyferry.runtime.request.inbox import CallInbox
from keyferry.sealing.grant import GrantSigner, signer_of

_log = logging.getLogger(__name__)

_RECONNECT_SECONDS = 0.25
_ASK_SECONDS = 5.0
_FLUSH_SECONDS = 2
_INBOX_SECONDS = 2
_CANCEL_SECONDS = 1.5
"""An abandoned request may still be accepted by a worker within this time, and must be cancelled then."""
_POLL_SECONDS = 0.01
_CANCEL_AGAIN_SECONDS = 0.5

_REFUSED = {
    ErrorCode.INVALID: FailureClass.BAD_REQUEST,
    ErrorCode.NOT_FOUND: FailureClass.NOT_FOUND,
    ErrorCode.CONFLICT: FailureClass.BAD_REQUEST,
    ErrorCode.UNAVAILABLE: FailureClass.UNAVAILABLE,
    ErrorCode.INTERNAL: FailureClass.INTERNAL,
}


@asynccontextmanager
async def connect(
    nats_url: str,
    *,
    tenant: str,
    nkey_file: Path | str | None = None,
    name: str = "main",
    max_retries: int = DEFAULT_MAX_RETRIES,
    connect_timeout_seconds: float = 5.0,
    ca_file: Path | str | None = None,
) -> AsyncIterator[Client]:
    """Connect as the program `name` of `tenant`, whose nkey seed is in `nkey_file`; leaving the context disconnects.

    Its requests are not signed, so it can call only what needs no provider key; for the rest use `connect_with_credentials`. A
    lost connection is restored without a time limit; requests meanwhile fail at once with Unavailable. `nats_url` may list the
    servers of a cluster with commas. `ca_file` has the authorities of their certificates; without it KEYFERRY_NATS_CA_FILE and
    the operating system's count, and TLS is used for `tls://` only. Raises CannotConnect, and ValueError for an invalid tenant
    or name.
    """
    user = internal_client(tenant, name)
    file = None if nkey_file is None else Path(nkey_file)
    connection = _Connection(nats_url, user, _read_seed(file), f"the seed {file}", ca_file)
    async with _connected(connection, tenant, max_retries, connect_timeout_seconds) as client:
        yield client


@asynccontextmanager
async def connect_with_credentials(
    path: Path | str,
    *,
    nats_url: str | None = None,
    max_retries: int = DEFAULT_MAX_RETRIES,
    connect_timeout_seconds: float = 5.0,
    ca_file: Path | str | None = None,
) -> AsyncIterator[Client]:
    """Connect as the internal service whose credentials file is at `path`, as `keyferry services create` writes it.

    `nats_url` replaces the address in the file. Like `connect` otherwise. Raises CannotConnect.
    """
    try:
        found = credentials.read(Path(path))
    except credentials.BadCredentials as error:
        raise _cannot_connect(str(error)) from None
    connection = _Connection(
        nats_url or found.nats_url, found.user, found.nkey_seed.reveal(), f"the credentials {path}", ca_file
    )
    grants = signer_of(found.user, found.grant_private_key)
    async with _connected(connection, found.tenant, max_retries, connect_timeout_seconds, grants) as client:
        yield client


@asynccontextmanager
async def _connected(
    connection: "_Connection",
    tenant: str,
    max_retries: int,
    connect_timeout_seconds: float,
    grants: GrantSigner | None = None,
) -> AsyncIterator[Client]:
    nats_client = await connection.open(connect_timeout_seconds)
    caller = CallInbox(nats_client, inbox_prefix(connection.user), secrets.token_hex(8), grants)
    try:
        await caller.start()
        await connection.require_inbox(nats_client)
    except BaseException:
        # Nothing else will close the connection.
        await caller.stop()
        await nats_client.close()
        raise
    async with Client(BusTransport(nats_client, caller), tenant=tenant, max_retries=max_retries) as client:
        yield client


class BusTransport:
    """Calls and queries over one connection."""

    def __init__(self, client: NatsClient, caller: CallInbox) -> None:
        self._client = client
        self._caller = caller

    def call(self, head: ChatRequest | EmbeddingRequest, body: bytes) -> Call:
        """Return a call that is not sent yet."""
        return self._caller.call(head, body)

    async def models(self, tenant: str) -> Models:
        """Return the models that the tenant can call now. Raises KeyferryError."""
        return await self._ask(MODEL_LIST, ListModels(tenant=tenant), Models.decode, "no router is running")

    async def rate(self, command: SaveFeedback) -> Feedback:
        """Store a rating. Raises KeyferryError."""
        try:
            return await self._ask(FEEDBACK_SAVE, command, Feedback.decode, "no usage ledger is running")
        except ModelNotFound as error:  # here it is the request that was not found
            raise BadRequest(error.failure) from None

    async def _ask(self, subject: Subject[Q, R], query: Q, decode: Callable[[bytes], R], absent: str) -> R:
        try:
            reply = await self._client.request(subject.address(query), query.encode(), timeout=_ASK_SECONDS)
            if (refusal := refusal_in(reply.data)) is not None:
                raise build_error(Failure(failure_class=_REFUSED[refusal.code], message=refusal.message))
            return decode(reply.data)
        except NoRespondersError:
            raise build_error(_unavailable(f"{absent}; try again in a moment")) from None
        except (NatsError, TimeoutError):
            raise build_error(_unavailable(f"no answer from the bus within {_ASK_SECONDS:g} s; try again")) from None
        except MalformedMessage as error:
            raise build_error(Failure(failure_class=FailureClass.INTERNAL, message=str(error))) from None

    async def close(self) -> None:
        """Disconnect, once the workers of abandoned calls have been notified."""
        give_up = time.monotonic() + _CANCEL_SECONDS
        while self._caller.open_calls and time.monotonic() < give_up:  # noqa: ASYNC110 - there is no event for the last one
            await asyncio.sleep(_POLL_SECONDS)
        await self._caller.stop()
        with suppress(NatsError, TimeoutError):  # the bus is unreachable, so nothing can be sent
            await self._client.flush(_FLUSH_SECONDS)
        await self._client.close()


class _Connection:
    """Opens one connection, with precise errors if that fails."""

    def __init__(self, url: str, user: str, seed: str | None, source: str, ca_file: Path | str | None) -> None:
        self._url = url
        self._ca_file = None if ca_file is None else Path(ca_file)
        self.user = user
        self._seed = seed
        self._source = source
        """Where the seed is from, for messages."""
        self._violations: list[str] = []
        self._rejected: asyncio.Future[NatsClient] | None = None
        """Cancelled when the server rejects the credentials."""

    async def open(self, timeout_seconds: float) -> NatsClient:
        """Open a connection that reconnects by itself. Raises CannotConnect.

        nats-py retries its first connection like a lost one, even if the server rejects the credentials, so timeout and
        rejection are watched here.
        """
        self._rejected = asyncio.get_running_loop().create_future()
        opening = asyncio.ensure_future(self._connect())
        try:
            await asyncio.wait({opening, self._rejected}, timeout=timeout_seconds, return_when=asyncio.FIRST_COMPLETED)
            if opening.done():
                return opening.result()
        except NkeysError:
            raise _cannot_connect(f"{self._source} holds no nkey seed; give the file of {self.user}") from None
        except (OSError, ValueError, NatsError) as error:
            raise _cannot_connect(f"NATS cannot be used at {self._url}: {error}; check the address") from None
        finally:
            await _stop(opening)
        if not opening.cancelled() and opening.exception() is None:
            await opening.result().close()  # it was established after the timeout
        if self._rejected.done():
            raise _cannot_connect(
                f"NATS at {self._url} does not accept {self._source}: use those that the installation's operator made for"
                f" {self.user}. If `keyferry services list --tenant TENANT` does not show it as active, it is revoked"
            )
        raise _cannot_connect(f"NATS does not answer at {self._url} within {timeout_seconds:g} s; is it running?")

    async def require_inbox(self, client: NatsClient) -> None:
        """Check that the server permits the inbox subscription. Raises CannotConnect.

        The server reports a refused subscription asynchronously. But it replies at once to a request for a worker process that
        does not exist: "no responders", sent to the inbox.
        """
        probe = Probe(attempt_ids=[ids.new(ids.ATTEMPT)]).encode()
        try:
            await client.request(WORKER_PROBE.format(instance=ids.new(ids.INSTANCE)), probe, timeout=_INBOX_SECONDS)
        except NoRespondersError:
            return
        except (NatsError, TimeoutError):
            reason = self._violations[0] if self._violations else f"no answer within {_INBOX_SECONDS} s"
        else:
            reason = "a worker that does not exist answered"
        raise _cannot_connect(
            f"NATS does not accept this seed for {self.user}: {reason}. Check `tenant` and `name`, or have the operator render"
            " the server's users again"
        )

    async def _connect(self) -> NatsClient:
        urls = server_urls(self._url)
        tls = bus_tls_of_environment(urls) if self._ca_file is None else bus_tls(urls, self._ca_file)
        return await open_connection(
            urls,
            **tls_options(tls),
            nkeys_seed_str=self._seed,
            inbox_prefix=inbox_prefix(self.user).encode(),
            name=self.user,
            # A request buffered during an outage would run after its caller gave up: fail at once instead.
            pending_size=0,
            max_reconnect_attempts=-1,
            reconnect_time_wait=_RECONNECT_SECONDS,
            ping_interval=ping_seconds(urls),
            error_cb=self._on_error,
        )

    async def _on_error(self, error: Exception) -> None:
        text = str(error)
        if "permissions violation" in text.lower():
            self._violations.append(text)
        elif "authorization violation" in text.lower() and self._rejected is not None:
            self._rejected.cancel()
        _log.warning("bus error", extra={"error": type(error).__name__, "detail": text})


async def _stop(opening: asyncio.Task[NatsClient]) -> None:
    """Cancel until it ends: on Python 3.11 nats-py loses a cancellation that arrives together with a result."""
    while not opening.done():
        opening.cancel()
        await asyncio.wait({opening}, timeout=_CANCEL_AGAIN_SECONDS)


def _read_seed(nkey_file: Path | None) -> str | None:
    if nkey_file is None:
        return None
    try:
        return nkey_file.read_text().strip()
    except OSError as error:
        raise _cannot_connect(f"the nkey seed {nkey_file} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise _cannot_connect(f"the file {nkey_file} holds no nkey seed: it is not text") from None


def _unavailable(message: str) -> Failure:
    return Failure(failure_class=FailureClass.UNAVAILABLE, message=message, where=Where.NOT_SENT)


def _cannot_connect(message: str) -> CannotConnect:
    return CannotConnect(_unavailable(message))
