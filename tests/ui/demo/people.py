"""The people and the tenants of the demo system. Names are fixed, so that pictures of two runs differ in little."""

from dataclasses import dataclass
from typing import Final

from keyferry.contracts.access_role import AccessRole

TENANT: Final = "acme"
"""Has keys, traffic and history; the pages of most tests are its pages."""
OTHER_TENANT: Final = "globex"
"""Has traffic of its own: nothing of it may be on a page of another tenant."""
EMPTY_TENANT: Final = "initech"
"""Was never used."""


@dataclass(frozen=True)
class Person:
    """Somebody who signs in with the built-in login."""

    email: str
    role: AccessRole | None
    tenant: str | None = TENANT
    operator: bool = False


OWNER = Person("ada@acme.example", AccessRole.OWNER)
ADMIN = Person("grace@acme.example", AccessRole.ADMIN)
DEVELOPER = Person("edsger@acme.example", AccessRole.DEVELOPER)
VIEWER = Person("barbara@acme.example", AccessRole.VIEWER)
OPERATOR = Person("margaret@keyferry.example", None, None, operator=True)
OTHER_OWNER = Person("donald@globex.example", AccessRole.OWNER, OTHER_TENANT)
NEW_OWNER = Person("peter@initech.example", AccessRole.OWNER, EMPTY_TENANT)
PEOPLE = {
    "owner": OWNER,
    "admin": ADMIN,
    "developer": DEVELOPER,
    "viewer": VIEWER,
    "operator": OPERATOR,
    "other owner": OTHER_OWNER,
    "new owner": NEW_OWNER,
}
