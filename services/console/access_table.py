"""The access tables as a page of the documentation: every route and command, and the roles that may use it. Pure."""

from collections.abc import Iterator

from keyferry.contracts.access_role import TENANT_ROLES
from services.console.access import ALLOWED, INSTALLATION_PREFIX, OPERATOR_PREFIX, OWN_PREFIX
from services.console.command_access import COMMANDS

_HEAD = """# Who may call what

Rendered by `make schemas` from `services/console/access.py` and `services/console/command_access.py`;
[Roles](../guides/roles.md) explains it. What has no row here is denied to everybody, and a test compares the rows with the routes
and the subjects that exist.

## In one's own tenant

The paths are below `/api/v1`. Operators may call each of them for any tenant, below `/api/v1/ops/tenants/TENANT`; a row without a
`yes` is for operators alone. Commands are sent to `/api/v1/commands/COMMAND` and have the roles of their route.

| method | path | owner | admin | developer | viewer | commands |
|---|---|---|---|---|---|---|
"""
_INSTALLATION = """
## For the whole installation

Operators only; the paths are below `/api/v1/ops`.

| method | path | commands |
|---|---|---|
"""
_OPEN = """
## Without a credential

| path | why, and what limits it |
|---|---|
| `/healthz`, `/readyz` | load balancers ask them; they say nothing of a tenant |
| `/auth/*` | people sign in there; attempts of an address are limited |
| `POST /webhooks/stripe` | Stripe has no credential here: the billing verifies the signature of the body before it reads or \
stores anything of it; an address has 60 refused requests a minute |
| the files of the page | they are the same for everybody and hold nothing of a tenant |
"""
_OTHERS = """
## Commands without a route

| command | who may send it |
|---|---|
"""


def render() -> str:
    """Return the page."""
    return "".join(
        (
            _HEAD,
            *(f"{line}\n" for line in _own_rows()),
            _INSTALLATION,
            *(f"{line}\n" for line in _installation_rows()),
            _OPEN,
            _OTHERS,
            *(f"{line}\n" for line in _other_rows()),
        )
    )


def _own_rows() -> Iterator[str]:
    for (method, path), roles in ALLOWED.items():
        if not path.startswith(INSTALLATION_PREFIX + "/"):
            marks = " | ".join("yes" if role in roles else "" for role in TENANT_ROLES)
            yield f"| {method} | `{path.removeprefix(OWN_PREFIX)}` | {marks} | {_commands_of(method, path)} |"


def _installation_rows() -> Iterator[str]:
    for method, path in ALLOWED:
        if path.startswith(INSTALLATION_PREFIX + "/") and not path.startswith(OPERATOR_PREFIX + "/"):
            yield f"| {method} | `{path.removeprefix(INSTALLATION_PREFIX)}` | {_commands_of(method, path)} |"


def _other_rows() -> Iterator[str]:
    for name, rule in COMMANDS.items():
        if rule.unavailable:
            yield f"| `{name}` | nobody: {rule.unavailable} |"


def _commands_of(method: str, path: str) -> str:
    return ", ".join(f"`{name}`" for name, rule in COMMANDS.items() if rule.route == (method, path))
