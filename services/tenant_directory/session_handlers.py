"""Handlers of the directory for sessions: requests of the console over the bus."""

from collections.abc import Callable
from datetime import datetime

from keyferry.contracts import ids
from keyferry.contracts.membership import MemberSignedOut, SignOutMember
from keyferry.contracts.membership_management import MEMBER_SIGN_OUT
from keyferry.contracts.sessions import (
    ChooseTenant,
    EndSession,
    ListSessions,
    Session,
    SessionEnded,
    Sessions,
    SessionsTouched,
    StartSession,
    TouchSessions,
)
from keyferry.contracts.sign_in_management import (
    SESSION_CHOOSE,
    SESSION_END,
    SESSION_LIST,
    SESSION_START,
    SESSION_TOUCH,
)
from keyferry.runtime.bus.connection import Bus
from services.tenant_directory.refusal import refuse_errors
from services.tenant_directory.session_store import SessionStore

_UNKNOWN = "so it is unknown whether the session has changed: try again in a moment"


class SessionHandlers:
    """Handlers of one process. `committed` is called after every change; `clock` returns the time in UTC.

    Every handler raises Refused if it cannot do what was requested.
    """

    def __init__(self, store: SessionStore, committed: Callable[[], None], clock: Callable[[], datetime]) -> None:
        self._store = store
        self._committed = committed
        self._clock = clock

    def register(self, bus: Bus) -> None:
        """Subscribe on `bus` to the subjects of sessions."""
        bus.respond(SESSION_START, self.start)
        bus.respond(SESSION_TOUCH, self.touch)
        bus.respond(SESSION_CHOOSE, self.choose)
        bus.respond(SESSION_END, self.end)
        bus.respond(MEMBER_SIGN_OUT, self.sign_out)
        bus.respond(SESSION_LIST, self.list_sessions)

    async def start(self, command: StartSession) -> Session:
        """Start a session for somebody whose identity the console has verified."""
        async with refuse_errors("so nobody can sign in now: try again in a moment"):
            session = await self._store.start(command, ids.new(ids.SESSION), ids.new(ids.USER), self._clock())
        self._committed()
        return session

    async def touch(self, command: TouchSessions) -> SessionsTouched:
        """Note when sessions were last used."""
        async with refuse_errors(_UNKNOWN):
            known = await self._store.touch(command)
        self._committed()
        return SessionsTouched(sessions=known)

    async def choose(self, command: ChooseTenant) -> Session:
        """Choose the tenant that a session acts for."""
        async with refuse_errors(_UNKNOWN):
            session = await self._store.choose(command)
        self._committed()
        return session

    async def end(self, command: EndSession) -> SessionEnded:
        """End a session everywhere."""
        async with refuse_errors(_UNKNOWN):
            await self._store.end(command)
        self._committed()
        return SessionEnded(session_id=command.session_id)

    async def sign_out(self, command: SignOutMember) -> MemberSignedOut:
        """End all sessions of a member."""
        async with refuse_errors(_UNKNOWN):
            ended = await self._store.sign_out(command)
        self._committed()
        return MemberSignedOut(member_id=command.member_id, sessions=ended)

    async def list_sessions(self, command: ListSessions) -> Sessions:
        """Return somebody's sessions."""
        async with refuse_errors("so it cannot list them: try again in a moment"):
            return Sessions(sessions=await self._store.list_sessions(command.user_id))
