"""The console's authentication without anybody who has signed in: the operator's token, no routes to sign in, no page."""

from collections.abc import Awaitable, Callable

from keyferry.contracts.secret import Secret
from keyferry.runtime.http.asgi import Receive, Scope, Send
from keyferry.runtime.http.credential import read_credential
from services.console.authentication import Principal, identify
from services.console.problem import not_found


def operator_only(token: Secret) -> Callable[[Scope], Awaitable[Principal]]:
    """Return an authentication that knows the operator's token."""

    async def authenticate(scope: Scope) -> Principal:
        return identify(read_credential(scope, key_headers=()), token)

    return authenticate


async def no_sign_in(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request to sign in where nobody can."""
    raise not_found("nobody can sign in here")


async def no_page(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request for the page where there is none."""
    raise not_found("there is no page here")
