"""`keyferry chat`."""

import json
import sys
from collections.abc import Callable

import click

from keyferry.cli.chat_request import ChatResult, body, exchange, request
from keyferry.cli.connection import OperatorConnection, run
from keyferry.cli.options import json_option, tenant_option
from keyferry.cli.request_trace import RequestTrace, fetch_trace, incomplete_trace
from keyferry.cli.trace_output import Json, as_json, format_trace


@click.command()
@click.argument("text")
@click.option("--model", default="echo", show_default=True, help="As `keyferry models` lists them.")
@tenant_option
@click.option("--explain", is_flag=True, help="Say which way the request took and why, and what it cost.")
@click.option("--no-stream", is_flag=True, help="Ask for the answer in one piece.")
@json_option
def command(text: str, model: str, tenant: str, explain: bool, no_stream: bool, as_json: bool) -> int:
    """Send TEXT (`-` reads standard input) and show the answer as it comes."""
    asked = sys.stdin.read() if text == "-" else text
    return run(lambda me: _chat(me, asked, model, tenant, stream=not no_stream, explain=explain, for_program=as_json))


async def _chat(
    me: OperatorConnection, text: str, model: str, tenant: str, *, stream: bool, explain: bool, for_program: bool
) -> int:
    head = request(tenant, model, stream=stream)
    show: Callable[[str], None] = _nothing if for_program else _as_it_comes
    chat_result = await exchange(me, head, body(text, model, stream=stream), show)
    if not for_program and chat_result.answer.text:
        click.echo("\n" if explain else "")
    trace = await fetch_trace(me, tenant, head.request_id, chat_result.attempts) if explain else None
    if for_program:
        click.echo(json.dumps(_document(chat_result, trace), indent=2))
    elif trace is not None:
        click.echo("\n".join(format_trace(trace)))
    if chat_result.failure is not None:
        raise chat_result.failure
    if trace is not None and (missing := trace.missing(chat_result.attempts)):
        raise incomplete_trace(missing)
    return 0


def _as_it_comes(text: str) -> None:
    click.echo(text, nl=False)


def _nothing(_: str) -> None:
    """A program wants the whole at the end."""


def _document(chat_result: ChatResult, trace: RequestTrace | None) -> dict[str, Json]:
    document: dict[str, Json] = {
        "request_id": chat_result.request_id,
        "text": chat_result.answer.text,
        "model": chat_result.answer.model,
        "finish_reason": chat_result.answer.finish_reason,
        "failure": chat_result.failure.failure.model_dump(mode="json") if chat_result.failure else None,
    }
    return document | ({"trace": as_json(trace)} if trace else {})
