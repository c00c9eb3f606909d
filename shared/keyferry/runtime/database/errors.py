"""One mapping of SQLAlchemy's errors for an unreachable database, shared by all services with tables."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

_DATA_ERROR_CLASSES = ("22", "23", "54")
"""SQLSTATE classes about the statement's data: data exception, integrity constraint, program limit
(PostgreSQL documentation, appendix A)."""


class DatabaseUnavailable(Exception):
    """PostgreSQL does not answer, so the outcome of a write is unknown."""


@contextmanager
def translate_database_errors() -> Iterator[None]:
    """Raise DatabaseUnavailable in place of the errors of SQLAlchemy and the socket that mean an unreachable server.

    Wrap it around the transaction, whose commit can fail as well. The message is the error's type name and nothing more, as an
    error's text may show a tenant's values. Everything else passes through unchanged.
    """
    try:
        yield
    except DBAPIError as error:
        if is_unavailable(error):
            raise DatabaseUnavailable(type(error).__name__) from None
        raise
    except (PoolTimeout, OSError) as error:
        raise DatabaseUnavailable(type(error).__name__) from None


def is_unavailable(error: DBAPIError) -> bool:
    """Return whether the server is the cause of `error`, and not the data of its statement.

    A server that has become a standby has rolled the transaction back, and another one takes changes.
    """
    if is_data_error(error):
        return False
    return isinstance(error, OperationalError | InterfaceError) or error.connection_invalidated


def is_data_error(error: DBAPIError) -> bool:
    """Return whether PostgreSQL rejected the values of a statement, which would fail again on every retry."""
    sqlstate = getattr(error.orig, "sqlstate", None)
    return sqlstate is not None and sqlstate.startswith(_DATA_ERROR_CLASSES)
