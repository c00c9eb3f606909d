"""`keyferry doctor`."""

import asyncio
import json
import os
from collections.abc import AsyncIterator

import click

from keyferry.cli.bus_checks import check_bus
from keyferry.cli.connection import operator
from keyferry.cli.installation import Installation, locate
from keyferry.cli.local_checks import check_machine
from keyferry.cli.member_connection import require_operator
from keyferry.cli.problem import Finding, Problem
from keyferry.cli.terminal import json_option, tenant_option

_EXIT_PROBLEMS = 1
_SLOTS_ELSEWHERE = 1
"""How many worker slots to expect if the launcher does not run on this machine."""


@click.command()
@tenant_option
@json_option
def command(tenant: str, as_json: bool) -> int:
    """Check the installation from the disk to the ledger, and report what is wrong and what to do about it.

    Makes one chat request as the tenant to the built-in echo. The exit status is 1 if something is wrong.
    """
    require_operator("the doctor looks at the machine and the bus of an installation")
    findings = asyncio.run(_run_checks(locate(), tenant, quiet=as_json))
    problems = sum(not finding.ok for finding in findings)
    if as_json:
        rows = [{"subject": f.subject, "ok": f.ok, "detail": f.detail, "remedy": f.remedy or None} for f in findings]
        click.echo(json.dumps(rows, indent=2))
    else:
        click.echo("all is well" if not problems else f"{problems} of {len(findings)} checks found a problem")
    return _EXIT_PROBLEMS if problems else os.EX_OK


async def _run_checks(installation: Installation, tenant: str, *, quiet: bool) -> list[Finding]:
    found = []
    async for finding in _check_all(installation, tenant):
        found.append(finding)
        if not quiet:
            click.echo("\n".join(finding.lines()))
    return found


async def _check_all(installation: Installation, tenant: str) -> AsyncIterator[Finding]:
    for finding in await asyncio.to_thread(lambda: list(check_machine(installation))):
        yield finding
    slots = installation.state.worker_slots if installation.state else _SLOTS_ELSEWHERE
    try:
        async with operator(installation) as me:
            async for finding in check_bus(me, tenant, slots):
                yield finding
    except Problem as problem:
        yield Finding("bus", f"{problem.what}; the services could not be checked", problem.remedy)
