"""The cookies of the console: their names, their attributes, and how they are read. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

_MAX_COOKIE_CHARACTERS = 8192


class AmbiguousCookie(Exception):
    """A cookie came several times with different values; the message is for the client."""


@dataclass(frozen=True, slots=True)
class CookiePolicy:
    """How cookies are set: over https with a name that no other host, path or plain connection can set."""

    secure: bool

    @property
    def session(self) -> str:
        """The cookie with the session token."""
        return "__Host-sid" if self.secure else "sid"

    @property
    def state(self) -> str:
        """The cookie with the state of a sign-in that is under way."""
        return "__Host-login" if self.secure else "login"

    def render(self, name: str, value: str, max_age_seconds: int) -> str:
        """Return a Set-Cookie header. `max_age_seconds` 0 deletes the cookie.

        SameSite=Lax: the identity provider's redirect brings the cookies along, and another site's form does not.
        """
        secure = "; Secure" if self.secure else ""
        return f"{name}={value}; Path=/; Max-Age={max_age_seconds}; HttpOnly; SameSite=Lax{secure}"


def read_cookie(headers: Iterable[tuple[bytes, bytes]], name: str) -> str | None:
    """Return the value of a cookie, or None. Raises AmbiguousCookie rather than choosing one of several.

    Who controls a neighbouring host can set a second cookie of the same name, to have the client act in another session.
    """
    found: set[str] = set()
    for header, value in headers:
        if header != b"cookie":
            continue
        if len(value) > _MAX_COOKIE_CHARACTERS:
            raise AmbiguousCookie("the request has more cookies than the console reads: remove those of this address")
        for pair in value.decode("latin-1").split(";"):
            key, separator, text = pair.strip().partition("=")
            if separator and key == name:
                found.add(text)
    if len(found) > 1:
        raise AmbiguousCookie("the request has several sessions in its cookies: remove the cookies of this address")
    return found.pop() if found else None
