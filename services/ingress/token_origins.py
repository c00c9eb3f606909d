"""The web pages that some client token is for, so that their preflight requests are answered.

A preflight request carries no token (Fetch Standard, "CORS-preflight fetch"), so it is answered for every page that any token
names. The request itself is then checked against its own token. Pure.
"""

from collections import Counter

from keyferry.contracts.tenancy import ClientToken


class TokenOrigins:
    """The origins of all client tokens that are limited to some, each with the number of its tokens."""

    def __init__(self) -> None:
        self._by_fingerprint: dict[str, tuple[str, ...]] = {}
        self._tokens: Counter[str] = Counter()

    def __contains__(self, origin: object) -> bool:
        return origin in self._tokens

    def update(self, fingerprint: str, token: ClientToken | None) -> None:
        """Take over what an entry of the view says; None for one that is gone."""
        for origin in self._by_fingerprint.pop(fingerprint, ()):
            self._tokens[origin] -= 1
            if not self._tokens[origin]:
                del self._tokens[origin]
        if token is not None and token.revoked_at is None and token.allowed_origins:
            self._by_fingerprint[fingerprint] = tuple(token.allowed_origins)
            self._tokens.update(token.allowed_origins)
