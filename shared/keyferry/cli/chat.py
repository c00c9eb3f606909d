"""`keyferry chat`."""

import json
import sys
from collections.abc import Callable

import click

from keyferry.cli.connection import Operator, run
from keyferry.cli.exchange import Chatted, body, exchange, request
from keyferry.cli.explanation import Json, as_json, explanation
from keyferry.cli.options import json_option, tenant_option
from keyferry.cli.story import Story, story_of, unfinished


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
    me: Operator, text: str, model: str, tenant: str, *, stream: bool, explain: bool, for_program: bool
) -> int:
    head = request(tenant, model, stream=stream)
    show: Callable[[str], None] = _nothing if for_program else _as_it_comes
    chatted = await exchange(me, head, body(text, model, stream=stream), show)
    if not for_program and chatted.answer.text:
        click.echo("\n" if explain else "")
    story = await story_of(me, tenant, head.request_id, chatted.attempts) if explain else None
    if for_program:
        click.echo(json.dumps(_document(chatted, story), indent=2))
    elif story is not None:
        click.echo("\n".join(explanation(story)))
    if chatted.failure is not None:
        raise chatted.failure
    if story is not None and (missing := story.missing(chatted.attempts)):
        raise unfinished(missing)
    return 0


def _as_it_comes(text: str) -> None:
    click.echo(text, nl=False)


def _nothing(_: str) -> None:
    """A program wants the whole at the end."""


def _document(chatted: Chatted, story: Story | None) -> dict[str, Json]:
    document: dict[str, Json] = {
        "request_id": chatted.request_id,
        "text": chatted.answer.text,
        "model": chatted.answer.model,
        "finish_reason": chatted.answer.finish_reason,
        "failure": chatted.failure.failure.model_dump(mode="json") if chatted.failure else None,
    }
    return document | ({"story": as_json(story)} if story else {})
