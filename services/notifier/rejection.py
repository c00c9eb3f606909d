"""Refusals of the notifier: what a request asks that cannot be done, and outages."""

from collections.abc import Iterator
from contextlib import contextmanager

from keyferry.contracts.service import ErrorCode
from keyferry.runtime.bus.requests import BusError, Refused
from keyferry.runtime.database.errors import DatabaseUnavailable


class NotifierRefusal(Exception):
    """What was requested is not done; the message says what to do. `code` is the kind of refusal."""

    def __init__(self, message: str, code: ErrorCode = ErrorCode.CONFLICT) -> None:
        super().__init__(message)
        self.code = code


@contextmanager
def refuse_failures() -> Iterator[None]:
    """Raise Refused in place of refusals of the notifier and of outages."""
    try:
        yield
    except NotifierRefusal as error:
        raise Refused(error.code, str(error)) from None
    except DatabaseUnavailable as error:
        message = f"the notifier's database does not answer ({error}): look whether it was saved before you try again"
        raise Refused(ErrorCode.UNAVAILABLE, message) from None
    except BusError as error:
        raise Refused(
            ErrorCode.UNAVAILABLE, f"the request was not finished: {error}; look what was saved before you try again"
        ) from None


def unknown(tenant: str, what: str, target_id: str) -> NotifierRefusal:
    """Return the refusal for something that a tenant does not have."""
    return NotifierRefusal(f"{tenant} has no {what} {target_id}", ErrorCode.NOT_FOUND)


def changed_meanwhile(revision: int) -> NotifierRefusal:
    """Return the refusal for a change of something that somebody else has changed."""
    return NotifierRefusal(
        f"nothing was saved: it is at revision {revision} by now; read it again, and repeat the change"
    )
