"""The sessions, memberships and suspended tenants that the directory publishes, and who is behind a session token.

A session that has left the view is refused at once. When sessions were used is reported to the directory together, at most once a
minute.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from keyferry.contracts import session_token
from keyferry.contracts.membership import Member, MemberState
from keyferry.contracts.secret import Secret
from keyferry.contracts.sessions import SeenSession, Session, TouchSessions
from keyferry.contracts.tenancy import Tenant
from keyferry.runtime.concurrency import cancel_and_wait
from keyferry.runtime.http.problem import CLOSE_CONNECTION, HttpProblem
from keyferry.runtime.views import KvView
from services.console.authentication import InvalidCredential, OwnSession

_log = logging.getLogger(__name__)

TOUCH_SECONDS = 60.0
_MOST_TOUCHED = 1000
_ENDED = "this session has ended: sign in again (`keyferry login`)"


class SessionIndex:
    """Follows the three views. `touch` reports to the directory; `clock` returns the time in UTC."""

    def __init__(
        self,
        sessions: KvView[Session],
        members: KvView[Member],
        tenants: KvView[Tenant],
        touch: Callable[[TouchSessions], Awaitable[object]],
        clock: Callable[[], datetime],
    ) -> None:
        self._sessions = sessions
        self._members = members
        self._tenants = tenants
        self._touch = touch
        self._clock = clock
        self._by_user: dict[str, dict[str, Member]] = {}
        self._user_of: dict[str, str] = {}
        self._seen: dict[str, datetime] = {}
        self._task: asyncio.Task[None] | None = None
        members.on_entry_change(self._on_member)

    @property
    def ready(self) -> bool:
        """Whether all views are complete."""
        return self._sessions.ready and self._members.ready and self._tenants.ready

    async def start(self) -> None:
        """Begin to follow, and to report."""
        await self._sessions.start()
        await self._members.start()
        await self._tenants.start()
        self._task = asyncio.create_task(self._report_always(), name="session touches")

    async def stop(self) -> None:
        """Report what was used last, and stop following."""
        if self._task is not None:
            await cancel_and_wait(self._task)
            await self.report()
        await self._sessions.stop()
        await self._members.stop()
        await self._tenants.stop()

    def find(self, token: str, *, used: bool = True) -> OwnSession:
        """Return the session of a token, and note that it is `used`.

        Raises InvalidCredential, and HttpProblem 503 before the views are complete.

        A token that is mistyped or made up is refused by its checksum, before anything is hashed.
        """
        if not session_token.is_well_formed(token):
            raise InvalidCredential("the session token is not complete: was it copied completely?")
        if not self.ready:
            raise _not_known_yet("sessions")
        session = self._sessions.get(session_token.digest(token))
        if session is None:
            raise InvalidCredential(_ENDED)
        now = self._clock()
        last = max(session.last_seen_at, self._seen.get(session.session_id, session.last_seen_at))
        if now >= session.expires_at or now >= last + timedelta(seconds=session.idle_seconds):
            raise InvalidCredential(_ENDED)
        if used:
            self._seen[session.session_id] = now
        return OwnSession(session, Secret(token), self.memberships(session.user_id))

    def memberships(self, user_id: str) -> tuple[Member, ...]:
        """Return what somebody may act for now, sorted by tenant."""
        found = self._by_user.get(user_id, {}).values()
        active = (member for member in found if member.state is MemberState.ACTIVE)
        return tuple(sorted(active, key=lambda member: member.tenant))

    def is_suspended(self, tenant: str) -> bool:
        """Return whether a tenant is suspended, or may be because its entry cannot be read.

        Raises HttpProblem 503 before the views are complete.
        """
        if not self._tenants.ready:
            raise _not_known_yet("tenants")
        found = self._tenants.get(tenant)
        return tenant in self._tenants.unreadable if found is None else found.suspended

    async def report(self) -> None:
        """Report all uses since the last report. They are kept for the next one if the directory does not answer."""
        seen, self._seen = self._seen, {}
        entries = [SeenSession(session_id=session_id, seen_at=moment) for session_id, moment in seen.items()]
        for start in range(0, len(entries), _MOST_TOUCHED):
            try:
                await self._touch(TouchSessions(seen=entries[start : start + _MOST_TOUCHED]))
            except Exception as error:  # an unreachable directory must not end the reports, whatever the bus raises
                _log.info("uses of sessions are not reported yet", extra={"reason": type(error).__name__})
                self._seen = {entry.session_id: entry.seen_at for entry in entries[start:]} | self._seen
                return

    async def _report_always(self) -> None:
        while True:
            await asyncio.sleep(TOUCH_SECONDS)
            await self.report()

    def _on_member(self, key: str, member: Member | None) -> None:
        before = self._user_of.pop(key, None)
        if before is not None:
            group = self._by_user[before]
            group.pop(key, None)
            if not group:
                del self._by_user[before]
        if member is not None and member.user_id is not None:
            self._user_of[key] = member.user_id
            self._by_user.setdefault(member.user_id, {})[key] = member


def _not_known_yet(what: str) -> HttpProblem:
    message = f"{what} are not known yet: the console waits for the tenant directory"
    headers = {"retry-after": "1", **CLOSE_CONNECTION}
    return HttpProblem(503, "overloaded_error", "unavailable", message, headers=headers)
