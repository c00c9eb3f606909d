"""Defence against requests that another site has a browser send (CSRF).

A request that changes something and is authenticated by a cookie needs both: it comes from the console's own pages, as the
browser says, and it has a token that only those pages can read. A request with a bearer credential needs neither: no browser
adds one by itself. Pure.
"""

import hashlib
import hmac

from keyferry.contracts.secret import Secret

CSRF_HEADER = b"x-csrf-token"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_CONTEXT = b"keyferry/csrf/v1"


class CrossSiteRequest(Exception):
    """The request may come from another site; the message is for the client."""


def csrf_token(session: Secret) -> str:
    """Return the token that belongs to a session: without the session's own token nobody can compute it."""
    return hmac.digest(session.reveal().encode(), _CONTEXT, hashlib.sha256).hex()


def check_origin(origin: str | None, fetch_site: str | None, own_origin: str) -> None:
    """Check that the console's own page sent a request. Raises CrossSiteRequest.

    `origin` and `fetch_site` are the headers `Origin` and `Sec-Fetch-Site`; a browser sends at least one of them.
    """
    if origin is not None:
        if origin != own_origin:
            raise CrossSiteRequest(f"the request comes from another site: open the console at {own_origin}")
        if fetch_site in (None, "same-origin"):
            return
    elif fetch_site == "same-origin":
        return
    raise CrossSiteRequest(
        "the request does not say that it comes from the console's own page (Origin, Sec-Fetch-Site): a program should send"
        " `Authorization: Bearer` instead of a cookie"
    )


def check_token(given: str | None, session: Secret) -> None:
    """Check the token of a request, in constant time. Raises CrossSiteRequest."""
    if given is None or Secret(given) != Secret(csrf_token(session)):
        raise CrossSiteRequest(
            "the header x-csrf-token is missing or of another session: GET /api/v1/session returns the one of this session"
        )
