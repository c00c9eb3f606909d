"""`keyferry dead-letters`: records that no table could take as they were."""

from pathlib import Path

import click

from keyferry.cli.connection import Connection, run
from keyferry.cli.problem import Problem
from keyferry.cli.terminal import format_table, format_time, json_option
from keyferry.contracts.dead_letters import (
    MAX_COPY_BYTES,
    DeadLetterDetail,
    GetDeadLetter,
    ReplayDeadLetters,
    ReplayedLetter,
    ReplayedLetters,
    ReplayOutcome,
    encode_base64,
)
from keyferry.contracts.ledger_management import DEAD_LETTER_GET, DEAD_LETTER_REPLAY
from keyferry.contracts.topology import DEAD_LETTER_DISCARD, DEAD_LETTER_LIST
from keyferry.contracts.usage import DeadLetterEntry, DiscardDeadLetters, ListDeadLetters

_REPLAY_SECONDS = 30.0


@click.group()
def command() -> None:
    """Show records that no table could take as they were, replay them after a fix, or remove them."""


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
@click.argument("number", type=int, metavar="NUMBER")
@json_option
def show(number: int, as_json: bool) -> None:
    """Show one dead letter: its reason, what to do about it, and the whole original."""
    found = run(lambda me: me.ask(DEAD_LETTER_GET, GetDeadLetter(number=number)))
    click.echo(found.model_dump_json(indent=2) if as_json else "\n".join(_describe(found)))


@command.command()
@click.argument("number", type=int, metavar="NUMBER", required=False)
@click.option("--all", "every", is_flag=True, help="All that there are.")
@click.option("--reason", metavar="TEXT", help="All whose reason contains TEXT, in any case.")
@click.option(
    "--file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A corrected copy of the original of NUMBER, to be recorded in its place. It keeps the record's id.",
)
@json_option
def replay(number: int | None, every: bool, reason: str | None, file: Path | None, as_json: bool) -> int:
    """Take dead letters in again: NUMBER, --all, or those with a --reason.

    What can be recorded now is recorded once, and is no dead letter any more. What is refused again stays, with its new reason;
    the exit status is 1 then.
    """
    if (number is not None) + every + (reason is not None) != 1:
        raise click.UsageError("give one of NUMBER, --all and --reason")
    if file is not None and number is None:
        raise click.UsageError("--file is a copy of one dead letter: give its NUMBER")
    copy_base64 = None if file is None else encode_base64(_read(file))
    question = ReplayDeadLetters(number=number, copy_base64=copy_base64, reason=reason)
    done = run(lambda me: _replay_pages(me, question))
    if as_json:
        click.echo(done.model_dump_json(indent=2))
    else:
        click.echo("\n".join(_result(letter) for letter in done.letters) or "no dead letter was replayed")
    stays = {ReplayOutcome.REFUSED, ReplayOutcome.REDUCED}
    return 1 if any(letter.outcome in stays for letter in done.letters) else 0


@command.command()
@click.argument("up_to", type=int, metavar="NUMBER")
@click.option("--only", is_flag=True, help="Only NUMBER, and none before it.")
@json_option
def discard(up_to: int, only: bool, as_json: bool) -> None:
    """Remove the dead letters up to NUMBER, which `list` shows. What they say is lost then."""
    done = run(lambda me: me.ask(DEAD_LETTER_DISCARD, DiscardDeadLetters(up_to=up_to, only=only)))
    click.echo(
        done.model_dump_json(indent=2) if as_json else f"removed {done.discarded} dead letters; {done.left} are left"
    )


async def _replay_pages(me: Connection, question: ReplayDeadLetters) -> ReplayedLetters:
    """Replay page after page; those that are refused meanwhile have greater numbers, and are not tried again."""
    letters: list[ReplayedLetter] = []
    while True:
        page = await me.ask(DEAD_LETTER_REPLAY, question, timeout_seconds=_REPLAY_SECONDS)
        letters += page.letters
        if page.next is None or question.number is not None:
            return ReplayedLetters(letters=letters, up_to=page.up_to)
        question = question.model_copy(update={"after": page.next, "up_to": page.up_to})


def _read(file: Path) -> bytes:
    with file.open("rb") as handle:
        content = handle.read(MAX_COPY_BYTES + 1)
    if len(content) > MAX_COPY_BYTES:
        raise Problem(f"{file} is too large", f"A copy has at most {MAX_COPY_BYTES} bytes, as the original had")
    return content


def _describe(found: DeadLetterDetail) -> list[str]:
    original = found.original
    cut = "" if len(original) >= found.size_bytes else f", of which the first {len(original)} were kept"
    return [
        f"number    {found.number}, of {format_time(found.at)}",
        f"from      {found.producer}, by the stream {found.stream}",
        f"record    {found.record_id or 'its id cannot be read'}",
        f"reason    {found.reason}",
        f"to do     {found.hint}",
        f"original  {found.size_bytes} bytes{cut}:",
        original.decode("utf-8", "replace"),
    ]


def _result(letter: ReplayedLetter) -> str:
    now = f" (now number {letter.number_now})" if letter.number_now else ""
    return f"{letter.number}: {letter.outcome.value}{now}: {letter.detail}"


def _row(entry: DeadLetterEntry) -> tuple[str, ...]:
    return (
        str(entry.number),
        format_time(entry.at),
        entry.producer,
        entry.stream,
        str(entry.size_bytes),
        entry.reason,
    )
