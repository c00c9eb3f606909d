"""Bodies and parameters of the requests to sign in, and where a browser may be sent afterwards. Pure."""

from typing import Annotated

from pydantic import Field, StrictBool

from keyferry.contracts.text import Refusing, is_safe
from services.console.bodies import Body

DEFAULT_RETURN = "/"
_MAX_PATH_CHARACTERS = 2000
_ASCII = r"^[\x21-\x7e]+$"


class RedeemCode(Body):
    """A code of the built-in login."""

    code: Annotated[str, Refusing(4096, pattern=_ASCII, form="printable ASCII without spaces")]
    browser: StrictBool = False
    """Whether the session is for this browser, in a cookie, instead of for the command line."""
    return_to: Annotated[str, Refusing(2000)] | None = None
    """The address of the console that the browser wanted; another one counts as none."""


class PollDevice(Body):
    """The device code of a login that is under way."""

    device_code: Annotated[str, Refusing(2048)] = Field()


def local_path(return_to: str | None) -> str:
    """Return where to go after signing in: a path of the console itself, never another site.

    A browser reads `//host` and `/\\host` as another host, and drops tabs and line breaks before it reads.
    """
    if (
        return_to is None
        or not return_to.startswith("/")
        or return_to.startswith(("//", "/auth/"))
        or "\\" in return_to
        or len(return_to) > _MAX_PATH_CHARACTERS
        or not return_to.isascii()
        or not is_safe(return_to)
    ):
        return DEFAULT_RETURN
    return return_to
