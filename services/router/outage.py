"""The refusal of a management request while the router's database is unreachable; requests for models go on."""

from collections.abc import Iterator
from contextlib import contextmanager

from keyferry.contracts.service import ErrorCode
from keyferry.runtime.bus.requests import Refused
from keyferry.runtime.database.errors import DatabaseUnavailable


@contextmanager
def refuse_outages(consequence: str, *, contents: str = "") -> Iterator[None]:
    """Refuse the request with UNAVAILABLE while the database is unreachable.

    `consequence` says what this means for the request, `contents` what the database is of, where that helps.
    """
    try:
        yield
    except DatabaseUnavailable:
        what = f"its database of {contents}" if contents else "its database"
        message = f"the router cannot reach {what}, {consequence}; `keyferry doctor` shows the cause"
        raise Refused(ErrorCode.UNAVAILABLE, message) from None
