"""What a client token is limited to: APIs, operations, and the web pages that may use it. Pure."""

from collections.abc import Sequence

from keyferry.contracts.tenancy import ClientToken
from keyferry.contracts.token_scope import ClientApi
from keyferry.runtime.http.problem import HttpProblem

_MOST_NAMED = 20


def check_scopes(token: ClientToken, api: ClientApi, operation: str | None, origin: str | None) -> None:
    """Check a request against the scopes of its token. Raises HttpProblem 403, which says what the token may do.

    `operation` is the value of `X-Operation`, and `origin` that of `Origin`, which browsers send for pages of other sites. Both
    come from outside and are never repeated. The models are checked by the router, which knows what a name stands for.
    """
    if token.allowed_apis is not None and api not in token.allowed_apis:
        raise _forbidden(f"the client token may only be used for {_join(token.allowed_apis)}, and this is {api.value}")
    # A list of models has no operation.
    if (
        token.allowed_operations is not None
        and api is not ClientApi.MODELS
        and operation not in token.allowed_operations
    ):
        remedy = "send one of them in the header X-Operation" if operation is None else "X-Operation names another one"
        raise _forbidden(
            f"the client token may only be used for the operations {_join(token.allowed_operations)}: {remedy}",
            "X-Operation",
        )
    if token.allowed_origins is not None and origin is not None and origin not in token.allowed_origins:
        raise _forbidden(f"the client token may only be used by web pages of {_join(token.allowed_origins)}", "Origin")


def _join(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(str(name) for name in names[:_MOST_NAMED]) + more


def _forbidden(message: str, header: str | None = None) -> HttpProblem:
    return HttpProblem(403, "permission_error", "token_scope", message, param=header)
