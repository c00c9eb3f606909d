"""The subjects and the bucket of people's sessions: the part of `topology` about signing in.

Import them from here; `topology` adds them to the map of the bus. Pure.
"""

from typing import Any

from keyferry.contracts import sessions
from keyferry.contracts.channels import AnySubject, Bucket, Role, Subject, manage

_DIRECTORY = Role.TENANT_DIRECTORY

SESSION_START = manage(
    "kf.v1.session.start", sessions.StartSession, sessions.Session, _DIRECTORY, "Start a session of a person."
)
SESSION_TOUCH = manage(
    "kf.v1.session.touch",
    sessions.TouchSessions,
    sessions.SessionsTouched,
    _DIRECTORY,
    "Report which sessions were used.",
)
SESSION_CHOOSE = manage(
    "kf.v1.session.choose", sessions.ChooseTenant, sessions.Session, _DIRECTORY, "Choose a session's tenant."
)
SESSION_END = manage("kf.v1.session.end", sessions.EndSession, sessions.SessionEnded, _DIRECTORY, "End a session.")
SESSION_LIST = manage(
    "kf.v1.session.list", sessions.ListSessions, sessions.Sessions, _DIRECTORY, "List a person's sessions."
)
SUBJECTS: tuple[AnySubject, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Subject))
"""Every subject above, in that order."""

SESSIONS_VIEW = Bucket(
    name="sessions",
    owner=_DIRECTORY,
    readers=(Role.CONSOLE,),
    message=sessions.Session,
    summary="Every session, by the SHA-256 of its token; a session that leaves the bucket has ended.",
)
BUCKETS: tuple[Bucket[Any], ...] = (SESSIONS_VIEW,)
