"""The refusal of a request to the ledger while its database is unreachable; records wait in the streams meanwhile."""

from collections.abc import Iterator
from contextlib import contextmanager

from keyferry.contracts.service import ErrorCode
from keyferry.runtime.bus.requests import Refused
from keyferry.runtime.database.errors import DatabaseUnavailable


@contextmanager
def refuse_outages() -> Iterator[None]:
    """Refuse the request with UNAVAILABLE while the database is unreachable."""
    try:
        yield
    except DatabaseUnavailable:
        message = "the usage ledger cannot reach its database: try again in a moment; `keyferry doctor` shows the cause"
        raise Refused(ErrorCode.UNAVAILABLE, message) from None
