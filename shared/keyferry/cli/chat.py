"""`keyferry chat`."""

import json
import sys
from collections.abc import Callable

import click

from keyferry.cli.chat_request import ChatResult, build_body, build_request, send_chat
from keyferry.cli.connection import Connection, OperatorConnection, run_as_operator
from keyferry.cli.problem import Problem
from keyferry.cli.request_trace import (
    EXPLAIN_TIMEOUT_SECONDS,
    TRACE_TIMEOUT_SECONDS,
    RequestTrace,
    fetch_trace,
    incomplete_trace,
)
from keyferry.cli.terminal import json_option, tenant_option
from keyferry.cli.trace_output import Json, format_trace, trace_to_json, usage_to_json
from keyferry.contracts.chat import ChatRequest
from keyferry.contracts.features import PowerLevel
from keyferry.runtime.bus.requests import BusError, Refused


@click.command()
@click.argument("text")
@click.option("--model", default="echo", show_default=True, help="A model that `keyferry models` lists.")
@tenant_option
@click.option("--explain", is_flag=True, help="Show the route of the request, the reasons, and the cost.")
@click.option(
    "--power-level",
    type=click.Choice([level.value for level in PowerLevel]),
    help="How the model is chosen for `--model eco|balanced|precision|auto`, or the offering of a named model.",
)
@click.option("--no-stream", is_flag=True, help="Request the answer in one piece.")
@json_option
def command(
    text: str, model: str, tenant: str, explain: bool, power_level: str | None, no_stream: bool, as_json: bool
) -> int:
    """Send TEXT (`-` reads standard input) and show the answer as it arrives."""
    body = build_body(_read_prompt(text), model, stream=not no_stream)
    level = PowerLevel(power_level) if power_level else None
    head = build_request(tenant, model, body, stream=not no_stream, power_level=level)
    return run_as_operator(
        lambda me: _chat(me, head, body, explain=explain, as_json=as_json),
        tenant=tenant,
        what="chats are sent over the bus by the operator",
        instead="Send chats to the gateway at /v1/chat/completions, with a client token",
    )


def _read_prompt(text: str) -> str:
    """Return the text to send. Raises Problem for bytes that are not UTF-8."""
    try:
        prompt = sys.stdin.read() if text == "-" else text
        prompt.encode()
    except UnicodeError:
        raise Problem("the text is not UTF-8", "Convert it first, for example with `iconv -t UTF-8`") from None
    return prompt


async def _chat(me: OperatorConnection, head: ChatRequest, body: bytes, *, explain: bool, as_json: bool) -> int:
    tenant = head.tenant
    show: Callable[[str], None] = _discard if as_json else _print_piece
    result = await send_chat(me, head, body, show)
    if not as_json and result.answer.text:
        click.echo("\n" if explain else "")
    trace = None
    if explain:
        trace = await fetch_trace(me, tenant, head.request_id, result.attempts, TRACE_TIMEOUT_SECONDS)
    if as_json:
        usage = _usage_of(trace, result) if trace else await fetch_usage(me, tenant, result)
        click.echo(json.dumps(_to_json(result, usage, trace), indent=2))
    elif trace is not None:
        click.echo("\n".join(format_trace(trace)))
    if result.failure is not None:
        raise result.failure
    if trace is not None and (missing := trace.missing(result.attempts)):
        raise incomplete_trace(missing, TRACE_TIMEOUT_SECONDS)
    return 0


async def fetch_usage(
    me: Connection, tenant: str, result: ChatResult, within_seconds: float = EXPLAIN_TIMEOUT_SECONDS
) -> dict[str, Json]:
    """Return usage and cost of the request by what the ledger has of it; unknown ones if it does not say."""
    try:
        return _usage_of(await fetch_trace(me, tenant, result.request_id, result.attempts, within_seconds), result)
    except (BusError, Refused):
        return usage_to_json([], result.attempts)


def _usage_of(trace: RequestTrace, result: ChatResult) -> dict[str, Json]:
    return usage_to_json(trace.attempts, trace.made_of(result.attempts))


def _print_piece(text: str) -> None:
    click.echo(text, nl=False)


def _discard(_: str) -> None:
    """Print nothing: with --json the whole result is printed at the end."""


def _to_json(result: ChatResult, usage: dict[str, Json], trace: RequestTrace | None) -> dict[str, Json]:
    route = result.accepted
    document: dict[str, Json] = {
        "request_id": result.request_id,
        "text": result.answer.text,
        "model": result.answer.model,
        "provider": (route.endpoint or route.provider) if route else None,
        "finish_reason": result.answer.finish_reason,
        "attempts": result.attempts,
        **usage,
        "failure": result.failure.failure.model_dump(mode="json") if result.failure else None,
    }
    return document | ({"trace": trace_to_json(trace)} if trace else {})
