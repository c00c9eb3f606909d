"""Which database errors mean an unreachable server, whichever service they come from."""

import psycopg
import pytest
from psycopg import errors
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from keyferry.runtime.database.errors import (
    DatabaseUnavailable,
    is_data_error,
    is_unavailable,
    translate_database_errors,
)


def _invalidated() -> DBAPIError:
    return DBAPIError("SELECT 1", {}, psycopg.Error(), connection_invalidated=True)


@pytest.mark.parametrize(
    "error",
    [
        OperationalError("SELECT 1", {}, psycopg.OperationalError()),
        OperationalError("SELECT 1", {}, errors.AdminShutdown()),
        InterfaceError("SELECT 1", {}, psycopg.InterfaceError()),
        _invalidated(),
        PoolTimeout(),
        ConnectionResetError(),
    ],
    ids=["no connection", "server shuts down", "closed connection", "invalidated", "pool exhausted", "socket"],
)
def test_an_unreachable_server_is_database_unavailable(error: Exception) -> None:
    with pytest.raises(DatabaseUnavailable) as raised, translate_database_errors():
        raise error
    assert str(raised.value) == type(error).__name__


@pytest.mark.parametrize(
    "error",
    [
        OperationalError("INSERT", {}, errors.ProgramLimitExceeded()),
        IntegrityError("INSERT", {}, errors.UniqueViolation()),
        DBAPIError("SELECT 1", {}, psycopg.Error()),
        ValueError(),
    ],
    ids=["program limit", "unique violation", "other database error", "other error"],
)
def test_other_errors_pass_through_unchanged(error: Exception) -> None:
    with pytest.raises(type(error)) as raised, translate_database_errors():
        raise error
    assert raised.value is error


@pytest.mark.parametrize(
    "cause",
    [
        errors.AdminShutdown,
        errors.CrashShutdown,
        errors.CannotConnectNow,
        errors.QueryCanceled,
        errors.DiskFull,
        errors.OutOfMemory,
        errors.TooManyConnections,
        errors.DeadlockDetected,
        errors.SerializationFailure,
    ],
)
def test_no_state_of_the_server_is_taken_for_a_bad_row(cause: type[psycopg.OperationalError]) -> None:
    error = OperationalError("INSERT", {}, cause())
    assert not is_data_error(error)
    assert is_unavailable(error)


@pytest.mark.parametrize(
    "cause", [errors.UntranslatableCharacter, errors.NumericValueOutOfRange, errors.CheckViolation]
)
def test_a_bad_row_is_the_rows_fault(cause: type[psycopg.Error]) -> None:
    error = DBAPIError("INSERT", {}, cause())
    assert is_data_error(error)
    assert not is_unavailable(error)
