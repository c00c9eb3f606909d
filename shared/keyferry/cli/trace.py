"""`keyferry trace`."""

import re

import click

from keyferry.cli.connection import run
from keyferry.cli.problem import Problem
from keyferry.cli.terminal import json_option, tenant_option
from keyferry.cli.trace_waterfall import format_waterfall
from keyferry.contracts.traces import TRACE_GET, GetTrace
from keyferry.waterfall.words import describe_absence

_SECONDS = 30.0
_TRACE_ID = re.compile(r"[0-9a-fA-F]{32}")


@click.command()
@click.argument("given_id", metavar="REQUEST_ID|TRACE_ID")
@click.option("--attributes", is_flag=True, help="Show the attributes of each span as well.")
@tenant_option
@json_option
def command(given_id: str, attributes: bool, tenant: str, as_json: bool) -> int:
    """Show where the time of a request went: each span of its trace, from HTTP to the ledger.

    Spans are kept for a day at most, and only of traces that were sampled, and of requests that failed, were cancelled, took long
    or were served after a fallback. The exit status is 1 if none is stored; the message says why.
    """
    if _TRACE_ID.fullmatch(given_id):
        question = GetTrace(tenant=tenant, trace_id=given_id.lower())
    else:
        question = GetTrace(tenant=tenant, request_id=given_id)
    trace = run(lambda me: me.ask(TRACE_GET, question, timeout_seconds=_SECONDS), tenant=tenant)
    if as_json:
        click.echo(trace.model_dump_json(indent=2))
        return 0 if trace.spans else 1
    if trace.absence is not None:
        what, remedy = describe_absence(trace.absence, trace.kept_since)
        raise Problem(f"no span of {given_id} of the tenant {tenant} is stored: {what}", remedy)
    click.echo("\n".join(format_waterfall(trace, attributes=attributes)))
    return 0
