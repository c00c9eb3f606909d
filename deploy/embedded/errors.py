"""The launcher's errors: each ends it with a message for the operator instead of a traceback."""

import psycopg
from nats.errors import Error as NatsError
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from keyferry.runtime.process.os_errors import describe_os_error, remedy_for
from keyferry.runtime.process.settings import CannotStart
from keyferry.runtime.tls.certificates import UnusableCertificate

DEBUG_VARIABLE = "KEYFERRY_DEBUG"


class LaunchFailed(Exception):
    """The system cannot start or cannot be reached; the message says what happened and what to do."""


class SettingsInvalid(LaunchFailed):
    """A setting of the launcher itself is invalid; the message names it."""


class HomeUnusable(LaunchFailed):
    """The home directory or a file in it cannot be used; the message names it."""


class StartFailed(LaunchFailed):
    """A process exited or did not become ready in time; the message ends with its last output."""


class UnknownService(LaunchFailed):
    """No service of that name is running; the message lists the ones that are."""


def describe(error: Exception) -> str:
    """Return what happened and what to do. The text of unexpected errors is withheld: only their type is shown."""
    from deploy.nats.provision import ProvisionError

    if isinstance(error, LaunchFailed | CannotStart | ProvisionError | UnusableCertificate):
        return str(error)
    if isinstance(error, DBAPIError):
        return f"PostgreSQL: {_first_line(error.orig)}"
    if isinstance(error, psycopg.Error):
        return f"PostgreSQL: {_first_line(error)}"
    if isinstance(error, SQLAlchemyError):
        return f"the database cannot be used ({type(error).__name__})"
    if isinstance(error, NatsError):
        return f"NATS does not do what it is asked for: {_first_line(error)}; see its log"
    if isinstance(error, OSError):
        return ". ".join(filter(None, (describe_os_error(error), remedy_for(error))))
    return f"unexpected: {type(error).__name__}. Run it again with {DEBUG_VARIABLE}=1 to see where, and report it"


def _first_line(error: BaseException | None) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
