"""Smoke test of a running system: one streamed chat over HTTP as the demo tenant, explained from the ledger.

python -m deploy.embedded.smoke_test HOME
"""

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx

from deploy.embedded.demo_service import ensure_demo_service
from deploy.embedded.errors import LaunchFailed
from deploy.postgres.roles import write_secret
from keyferry.cli.completion_text import CompletionText
from keyferry.cli.connection import OperatorConnection, operator
from keyferry.cli.installation import Installation, InstallationState, locate
from keyferry.cli.problem import Problem
from keyferry.cli.request_trace import TRACE_TIMEOUT_SECONDS, RequestTrace, fetch_trace, incomplete_trace
from keyferry.cli.token_output import describe_state
from keyferry.cli.tokens import build_registration
from keyferry.cli.trace_output import format_trace
from keyferry.contracts import client_token
from keyferry.contracts.credit_management import GrantCredits
from keyferry.contracts.envelope import MalformedMessage
from keyferry.contracts.ledger_management import CREDIT_GRANT
from keyferry.contracts.limits import NO_LIMITS
from keyferry.contracts.secret import Secret
from keyferry.contracts.tenancy import (
    ClientToken,
    CreateTenant,
    ListClientTokens,
    ListTenants,
    Tier,
)
from keyferry.contracts.topology import TENANT_CREATE, TENANT_LIST, TOKEN_CREATE, TOKEN_LIST
from keyferry.runtime.bus.requests import BusError, Refused

DEMO = "demo"
_FIRST_CREDITS = GrantCredits.model_validate(
    {"tenant": DEMO, "credits": "10000", "idempotency_key": "first", "reason": "To try the platform's keys"}
)
"""Ten dollars, so that a provider key of the platform is enough for a first answer."""
_MODEL = "echo"
_LABEL = "demo, created by the launcher"
_GREETING = (
    "Hello from Keyferry: this sentence went over HTTP, the bus and a provider worker, and came back as a stream."
)
_ACCEPTED_WITHIN_SECONDS = 15.0
_POLL_SECONDS = 0.05
_HTTP_TIMEOUT_SECONDS = 30.0
_REQUEST_ID = "x-request-id"
_ATTEMPTS = "x-keyferry-attempts"
_DATA = "data: "
_DONE = "[DONE]"


def run_smoke_test(home: Path) -> None:
    """Send a chat to the system of `home` and print the answer, its route, its cost and its ledger row.

    Creates the tenant `demo`, its client token and its internal service if they are missing. If it was deleted, which is for
    good, send nothing. Call it outside an event loop. Raises LaunchFailed.
    """
    try:
        installation = locate({"KEYFERRY_HOME": str(home)})
        assert installation.state is not None, "an installation located by KEYFERRY_HOME has a state"
        token = asyncio.run(_ensure_demo_credentials(installation, installation.state))
        if token is None:
            print(f"There is no first chat: the tenant {DEMO} was deleted", flush=True)
            return
        request_id, attempts = _chat(installation.state, token)
        trace = asyncio.run(_fetch_trace(installation, request_id, attempts))
    except Problem as problem:
        raise LaunchFailed("\n".join(problem.lines())) from None
    except (BusError, Refused, MalformedMessage) as error:
        raise LaunchFailed(f"the first chat failed: {error}") from None
    except httpx.HTTPError as error:
        raise LaunchFailed(f"the HTTP API does not answer ({type(error).__name__}); see the log of ingress") from None
    print("\n".join(format_trace(trace)), flush=True)


# --- the demo tenant and its token


async def _ensure_demo_credentials(installation: Installation, state: InstallationState) -> Secret | None:
    async with operator(installation) as session:
        if not await _ensure_tenant(session):
            state.token_file.unlink(missing_ok=True)
            return None
        token = await _ensure_demo_token(session, state.token_file)
        await ensure_demo_service(session, state, DEMO)
        return token


async def _ensure_demo_token(session: OperatorConnection, file: Path) -> Secret:
    found = await session.ask(TOKEN_LIST, ListClientTokens(tenant=DEMO))
    stored = _read_token(file)
    if stored is not None and is_active(found.tokens, stored, datetime.now(UTC)):
        return stored
    token = client_token.mint()
    await session.ask(TOKEN_CREATE, build_registration(token, DEMO, _LABEL))
    write_secret(file, token.reveal() + "\n")
    return token


async def _ensure_tenant(session: OperatorConnection) -> bool:
    """Create the tenant if it is missing; return whether there is one. Raises Problem, Refused and BusError."""
    tenants = (await session.ask(TENANT_LIST, ListTenants())).tenants
    demo = next((tenant for tenant in tenants if tenant.tenant == DEMO), None)
    if demo is None:
        await session.ask(TENANT_CREATE, CreateTenant(tenant=DEMO, name="Demo", tier=Tier.STARTER, limits=NO_LIMITS))
        await session.ask(CREDIT_GRANT, _FIRST_CREDITS)
    elif demo.deleted_at is not None:
        return False
    elif demo.suspended:
        raise Problem(f"the tenant {DEMO} is suspended", f"`keyferry tenants update {DEMO} --resume`")
    return True


def is_active(tokens: list[ClientToken], token: Secret, now: datetime) -> bool:
    """Return whether a token with the last characters of `token` is active at `now`."""
    return any(token.reveal().endswith(known.last4) and describe_state(known, now) == "active" for known in tokens)


def _read_token(file: Path) -> Secret | None:
    text = file.read_text().strip() if file.is_file() else ""
    return Secret(text) if client_token.is_well_formed(text) else None


# --- the chat


def _chat(where: InstallationState, token: Secret) -> tuple[str, int]:
    """Send the request and print the answer as it arrives; return its id and number of attempts. Raises Problem."""
    headers = {"authorization": f"Bearer {token.reveal()}"}
    body = {"model": _MODEL, "stream": True, "messages": [{"role": "user", "content": _GREETING}]}
    # trust_env=False: a proxy of the environment must not get requests to loopback.
    with httpx.Client(base_url=where.http_url, headers=headers, timeout=_HTTP_TIMEOUT_SECONDS, trust_env=False) as http:
        _wait_until_available(http, where.token_file)
        with http.stream("POST", "/v1/chat/completions", json=body) as response:
            if response.status_code != httpx.codes.OK:
                raise Problem(
                    f"the first chat was answered with {_describe_error(response)}", "See the logs of the services"
                )
            answer, complete = CompletionText(), False
            for event in _iterate_events(response):
                complete = event == _DONE
                if not complete:
                    print(answer.add(event.encode()), end="", flush=True)
            print(flush=True)
            request_id, attempts = response.headers[_REQUEST_ID], int(response.headers.get(_ATTEMPTS, "1"))
    if not complete or _GREETING not in answer.text:
        raise Problem("the answer to the first chat was incomplete", "See the log of provider_worker")
    return request_id, attempts


def _wait_until_available(http: httpx.Client, token_file: Path) -> None:
    """Wait until ingress has the token and the router the tenant; both receive them shortly after they are stored."""
    give_up = time.monotonic() + _ACCEPTED_WITHIN_SECONDS
    while True:
        response = http.get("/v1/models")
        if response.status_code == httpx.codes.OK and any(m["id"] == _MODEL for m in response.json()["data"]):
            return
        if time.monotonic() > give_up:
            outcome = "a list without it" if response.status_code == httpx.codes.OK else _describe_error(response)
            raise Problem(
                f"asked for the model {_MODEL} with the demo token, the API answers with {outcome}",
                f"If it does not know the token, remove {token_file} and start again; else see the logs",
            )
        time.sleep(_POLL_SECONDS)


def _iterate_events(response: httpx.Response) -> Iterator[str]:
    return (line.removeprefix(_DATA) for line in response.iter_lines() if line.startswith(_DATA))


def _describe_error(response: httpx.Response) -> str:
    try:
        message = json.loads(response.read())["error"]["message"]
    except (ValueError, KeyError, TypeError):
        message = "no error object"
    return f"{response.status_code}: {message}"


async def _fetch_trace(installation: Installation, request_id: str, attempts: int) -> RequestTrace:
    async with operator(installation) as session:
        trace = await fetch_trace(session, DEMO, request_id, attempts, TRACE_TIMEOUT_SECONDS)
    if missing := trace.missing(attempts):
        raise incomplete_trace(missing, TRACE_TIMEOUT_SECONDS)
    return trace


def main() -> int:
    """Run from the command line; return the exit status."""
    if len(sys.argv) != 2:
        print("usage: python -m deploy.embedded.smoke_test HOME", file=sys.stderr)
        return 2
    try:
        run_smoke_test(Path(sys.argv[1]))
    except LaunchFailed as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
