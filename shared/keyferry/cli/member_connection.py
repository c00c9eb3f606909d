"""A signed-in member's connection: management requests over HTTP, which the console decides on by the member's role."""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from keyferry.cli import session_file
from keyferry.cli.installation import find_home
from keyferry.cli.problem import Problem
from keyferry.cli.session_file import URL_SETTING, SavedSession
from keyferry.contracts.channels import Q, R, Subject
from keyferry.contracts.service import ErrorCode
from keyferry.contracts.topology import TENANT_GET
from keyferry.runtime.bus.requests import BusError, Refused

if TYPE_CHECKING:
    import httpx

_COMMANDS = "/api/v1/commands/"
_ASK_SECONDS = 20.0
_LONGER_SECONDS = 5.0
"""How much longer the client waits than the console does for the service."""
_REFUSALS = {
    400: ErrorCode.INVALID,
    404: ErrorCode.NOT_FOUND,
    409: ErrorCode.CONFLICT,
    422: ErrorCode.INVALID,
    500: ErrorCode.INTERNAL,
    503: ErrorCode.UNAVAILABLE,
}
_REMEDIES = {401: "Sign in again", 403: "Ask an owner or admin of the tenant"}


def choose_session(
    environment: Mapping[str, str] = os.environ, start: Path | None = None, sessions: Path | None = None
) -> SavedSession | None:
    """Return the session that commands use, or None for the operator's connection to the bus. Raises Problem.

    An address in KEYFERRY_URL decides for its session. Else an installation here, or a bus in KEYFERRY_NATS_URL, decides for the
    operator. Else the session that was saved last is used.
    """
    sessions = sessions or session_file.session_path(environment)
    if url := environment.get(URL_SETTING):
        session = session_file.load(url, sessions)
        if session is None:
            raise Problem(
                f"you are not signed in at {session_file.normalize_url(url)}",
                f"Sign in there, or unset {URL_SETTING} to use the installation here",
            )
        return session
    if environment.get("KEYFERRY_NATS_URL") or find_home(environment, start) is not None:
        return None
    return session_file.load_last(sessions)


def require_operator(what: str, instead: str = "") -> None:
    """Raise Problem if commands use a member's session: `what` says what the command needs, `instead` what members do."""
    session = choose_session()
    if session is not None:
        raise Problem(
            f"{what}, and you are signed in as a member at {session.url}",
            instead or f"Run it as the operator where the installation is, without {URL_SETTING}",
        )


class MemberConnection:
    """Sends management requests for a member. The tenant and the actor are those of the session, whatever a request names."""

    def __init__(self, client: "httpx.AsyncClient", url: str) -> None:
        self._client = client
        self._url = url

    async def ask(self, subject: Subject[Q, R], question: Q, *, timeout_seconds: float = _ASK_SECONDS) -> R:
        """Send a management request. Raises Refused, BusError if nobody answers, and Problem if it is not permitted."""
        return subject.decode_reply(await self._post(subject.name, question.encode(), timeout_seconds))

    async def own_tenant(self) -> str | None:
        """Return the tenant of the session, None for an operator. Raises as `ask` does."""
        try:
            # Without a tenant, which the message cannot be, so that the console fills in the session's own.
            return TENANT_GET.decode_reply(await self._post(TENANT_GET.name, b"{}", _ASK_SECONDS)).tenant
        except Refused as refused:
            if refused.refusal.code is ErrorCode.INVALID:  # an operator has none, and is to name one
                return None
            raise

    async def _post(self, name: str, content: bytes, timeout_seconds: float) -> bytes:
        import httpx

        try:
            response = await self._client.post(
                _COMMANDS + name, content=content, timeout=timeout_seconds + _LONGER_SECONDS
            )
        except httpx.TransportError as error:
            what = f"{self._url} does not answer ({type(error).__name__}): is the address right, and does it run?"
            raise BusError(what) from None
        if response.status_code != httpx.codes.OK:
            raise self._refusal(response)
        return response.content

    def _refusal(self, response: "httpx.Response") -> Problem | Refused:
        status, message = response.status_code, _message_of(response)
        if status in _REMEDIES:
            return Problem(message, _REMEDIES[status])
        if status in _REFUSALS:
            return Refused(_REFUSALS[status], message)
        return Problem(f"{message} (HTTP {status} from {self._url})")


def _message_of(response: "httpx.Response") -> str:
    """Return what an error says. A proxy's own page is not repeated."""
    try:
        message = response.json()["error"]["message"]
    except (ValueError, KeyError, TypeError):
        message = None
    return message if isinstance(message, str) else "the answer is not one of the management API"


def own_tenant() -> str | None:
    """Return the tenant of the session that commands use; None for an operator. Raises as `MemberConnection.ask` does."""
    session = choose_session()
    if session is None:
        return None

    async def ask() -> str | None:
        async with member(session) as me:
            return await me.own_tenant()

    return asyncio.run(ask())


@asynccontextmanager
async def member(session: SavedSession) -> AsyncIterator[MemberConnection]:
    """Connect as a member."""
    import httpx  # takes a tenth of a second to load, which commands of the operator save

    headers = {"authorization": f"Bearer {session.token.reveal()}", "content-type": "application/json"}
    # Neither proxies nor .netrc of the environment: the session goes to this address only.
    async with httpx.AsyncClient(base_url=session.url, headers=headers, trust_env=False) as client:
        yield MemberConnection(client, session.url)
