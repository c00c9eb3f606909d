"""`keyferry requests show --content`."""

import click

from keyferry.cli.connection import run
from keyferry.cli.problem import Problem
from keyferry.contracts.content import AttemptContent, GetContent
from keyferry.contracts.content_management import CONTENT_GET

_CUT = " [cut]"


def show_content(request_id: str, tenant: str, as_json: bool) -> None:
    """Print what is stored of a request's prompt and answer. Raises Problem if nothing is."""
    question = GetContent(tenant=tenant, request_id=request_id)
    found = run(lambda me: me.ask(CONTENT_GET, question), tenant=tenant)
    if as_json:
        click.echo(found.model_dump_json(indent=2))
        return
    if not found.attempts:
        raise Problem(
            f"nothing is stored of the content of {request_id}",
            f"Content is stored only where the tenant wants it (`keyferry tenants set {tenant} --content redacted`), from then"
            " on, until its time is over; it arrives some seconds after the request",
        )
    for one in found.attempts:
        _print(one)


def _print(one: AttemptContent) -> None:
    click.echo(f"attempt {one.attempt_id}, {one.policy.value}, until {one.expires_at:%Y-%m-%d %H:%M} UTC")
    click.echo(f"messages: {one.request}{_CUT if one.request_cut else ''}")
    click.echo(f"answer: {one.answer}{_CUT if one.answer_cut else ''}")
