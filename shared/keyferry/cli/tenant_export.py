"""`keyferry tenants export`."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

import click

from keyferry.cli.connection import Connection, run
from keyferry.runtime.tenant_export import TenantExport


@click.command()
@click.argument("tenant")
@click.option(
    "--output", type=click.Path(dir_okay=False, path_type=Path), help="The file to write (default: standard output)."
)
def export(tenant: str, output: Path | None) -> None:
    """Export everything of TENANT that is its own and no secret, as JSON lines.

    The file appears under its name when it is complete; its last line has the kind `end`.
    """

    async def work(me: Connection) -> int:
        exported = TenantExport(me.ask, tenant)
        with _destination(output) as file:
            async for line in exported.lines():
                file.write(line)
        return exported.lines_written

    written = run(work, tenant=tenant)
    if output is not None:
        click.echo(f"exported {written} lines about {tenant} to {output}")


@contextmanager
def _destination(output: Path | None) -> Iterator[TextIO]:
    """Provide standard output, or a file that only its owner may read and that gets its name when it is complete."""
    if output is None:
        yield sys.stdout
        return
    part = output.with_name(f"{output.name}.part")
    try:
        part.unlink(missing_ok=True)
        part.touch(mode=0o600)
        with part.open("w", encoding="utf-8", newline="") as file:
            yield file
        part.replace(output)
    except BaseException:  # also when it is interrupted: nothing half done stays
        with suppress(OSError):
            part.unlink()
        raise
