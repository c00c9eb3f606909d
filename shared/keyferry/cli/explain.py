"""`keyferry explain`."""

import json

import click

from keyferry.cli.connection import OperatorConnection, run
from keyferry.cli.options import json_option, tenant_option
from keyferry.cli.problem import Problem
from keyferry.cli.request_trace import fetch_trace
from keyferry.cli.trace_output import as_json as trace_as_json
from keyferry.cli.trace_output import format_trace


@click.command()
@click.argument("request_id")
@tenant_option
@json_option
def command(request_id: str, tenant: str, as_json: bool) -> int:
    """Say which way the request REQUEST_ID took and why, and what it cost, as far as the ledger knows now.

    The id is in the answer's `x-request-id` header and in every error object.
    """
    return run(lambda me: _explain(me, tenant, request_id, for_program=as_json))


async def _explain(me: OperatorConnection, tenant: str, request_id: str, *, for_program: bool) -> int:
    trace = await fetch_trace(me, tenant, request_id, expected_attempts=0, within_seconds=0)
    if trace.decision is None and not trace.attempts:
        raise Problem(
            f"the ledger knows nothing of {request_id} of the tenant {tenant}",
            "Check the id and --tenant. Records arrive within a second or so after a request; ask again if it was just made",
        )
    click.echo(json.dumps(trace_as_json(trace), indent=2) if for_program else "\n".join(format_trace(trace)))
    return 0
