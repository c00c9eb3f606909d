"""Names of time zones (IANA), checked against the zones that this machine knows. Pure."""

from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from keyferry.contracts.text import Refusing

_NOT_ZONES = frozenset({"localtime", "posixrules", "Factory"})
"""Files of the zone database that are no zones of their own: what they mean differs by machine."""
_OTHER_FORMS = ("posix/", "right/")
"""Copies of all zones; those of `right` count leap seconds."""


def is_zone(name: str) -> bool:
    """Return whether `name` is a time zone that this machine knows."""
    if name in _NOT_ZONES or name.startswith(_OTHER_FORMS):
        return False
    try:
        ZoneInfo(name)
    except (ValueError, OSError, LookupError):
        return False
    return True


def _check_zone(name: str) -> str:
    if not is_zone(name):
        raise PydanticCustomError("zone", "Input should be the name of a time zone, such as UTC or Europe/Berlin")
    return name


ZoneName = Annotated[
    str,
    Refusing(
        64, pattern=r"^[A-Za-z0-9_+-]+(?:/[A-Za-z0-9_+-]+){0,2}$", form="the name of a time zone, as Europe/Berlin"
    ),
    AfterValidator(_check_zone),
]
"""A time zone of the IANA database."""
