"""`keyferry deadletters`: records that no table could take as they were."""

import click

from keyferry.cli.connection import run
from keyferry.cli.terminal import format_table, format_time, json_option
from keyferry.contracts.topology import DEAD_LETTER_DISCARD, DEAD_LETTER_LIST
from keyferry.contracts.usage import DeadLetterEntry, DiscardDeadLetters, ListDeadLetters


@click.group()
def command() -> None:
    """Show records that no table could take as they were, and remove them once they are dealt with."""


@command.command("list")
@click.option("--after", default=0, help="Only those with a greater number.")
@json_option
def list_(after: int, as_json: bool) -> None:
    """List the dead letters, oldest first, at most 50; --json also shows the originals."""
    found = run(lambda me: me.ask(DEAD_LETTER_LIST, ListDeadLetters(after=after)))
    if as_json:
        click.echo(found.model_dump_json(indent=2))
        return
    heads = ("NUMBER", "AT", "FROM", "STREAM", "BYTES", "REASON")
    click.echo(format_table(heads, [_row(entry) for entry in found.entries], empty="there are no dead letters"))
    if found.entries and found.total > len(found.entries):
        click.echo(f"{found.total} in all: `--after {found.entries[-1].number}` shows those that follow")


@command.command()
@click.argument("up_to", type=int, metavar="NUMBER")
@json_option
def discard(up_to: int, as_json: bool) -> None:
    """Remove the dead letters up to NUMBER, which `list` shows. What they say is lost then."""
    done = run(lambda me: me.ask(DEAD_LETTER_DISCARD, DiscardDeadLetters(up_to=up_to)))
    click.echo(
        done.model_dump_json(indent=2) if as_json else f"removed {done.discarded} dead letters; {done.left} are left"
    )


def _row(entry: DeadLetterEntry) -> tuple[str, ...]:
    return (
        str(entry.number),
        format_time(entry.at),
        entry.producer,
        entry.stream,
        str(entry.size_bytes),
        entry.reason,
    )
