"""`keyferry explain`."""

import json

import click

from keyferry.cli.connection import Connection, run
from keyferry.cli.problem import Problem
from keyferry.cli.request_trace import EXPLAIN_TIMEOUT_SECONDS, fetch_trace, incomplete_trace
from keyferry.cli.terminal import json_option, tenant_option
from keyferry.cli.trace_output import format_trace, trace_to_json


@click.command()
@click.argument("request_id")
@tenant_option
@json_option
def command(request_id: str, tenant: str, as_json: bool) -> int:
    """Show the route of the request REQUEST_ID, the reasons, and the cost.

    Waits a few seconds for records that are on their way to the ledger. The exit status is 1 if some have not arrived by then.
    The id is in the `x-request-id` response header and in every error object.
    """
    return run(lambda me: _explain(me, tenant, request_id, as_json=as_json), tenant=tenant)


async def _explain(me: Connection, tenant: str, request_id: str, *, as_json: bool) -> int:
    trace = await fetch_trace(me, tenant, request_id, expected_attempts=None, within_seconds=EXPLAIN_TIMEOUT_SECONDS)
    if trace.decision is None and not trace.attempts:
        raise Problem(
            f"the ledger has no record of {request_id} for the tenant {tenant}",
            "Check the id and --tenant. Records arrive about a second after a request: if it was just made, try again. A request"
            " that was refused before it reached a router, as without a valid client token or body, has no record",
        )
    click.echo(json.dumps(trace_to_json(trace), indent=2) if as_json else "\n".join(format_trace(trace)))
    if missing := trace.missing():
        raise incomplete_trace(missing, EXPLAIN_TIMEOUT_SECONDS)
    return 0
