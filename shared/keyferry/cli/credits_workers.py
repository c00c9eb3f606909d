"""`keyferry credits workers` and `declare-lost`: credit that waits for the records of workers."""

import click

from keyferry.cli.connection import run
from keyferry.cli.terminal import format_table, format_time, json_option
from keyferry.contracts.credit_workers import CreditWorker, CreditWorkers, DeclareWorkerLost, ListCreditWorkers
from keyferry.contracts.ledger_management import CREDIT_WORKER_DECLARE_LOST, CREDIT_WORKER_LIST


@click.command()
@json_option
def workers(as_json: bool) -> None:
    """Show how far each worker's attempts are settled, and the credit of ended leases that waits for them."""
    found = run(lambda me: me.ask(CREDIT_WORKER_LIST, ListCreditWorkers()))
    click.echo(found.model_dump_json(indent=2) if as_json else format_workers(found))


@click.command("declare-lost")
@click.argument("worker")
@click.option("--spool", help="Only this spool of it; `workers` shows them.")
@json_option
def declare_lost(worker: str, spool: str | None, as_json: bool) -> None:
    """Wait no longer for the records of WORKER, whose disk is gone. What its last attempts cost is then not collected.

    A worker that starts again with its spool needs no such thing: it sends its records itself.
    """
    done = run(lambda me: me.ask(CREDIT_WORKER_DECLARE_LOST, DeclareWorkerLost(worker=worker, spool_id=spool)))
    named = ", ".join(one or "without a name" for one in done.spools)
    text = f"{done.worker} is declared lost (spool {named}); the credit that waited for it returns in a moment"
    click.echo(done.model_dump_json(indent=2) if as_json else text)


def format_workers(found: CreditWorkers) -> str:
    """Return the tables of workers and of what waits for them."""
    heads = ("WORKER", "SPOOL", "SETTLED UNTIL", "LAST REPORT", "STATE")
    lines = [format_table(heads, [_row(worker) for worker in found.workers], empty="no worker has reported yet")]
    if found.waiting:
        rows = [(one.account, str(one.leases), str(one.amount)) for one in found.waiting]
        lines += ["", format_table(("ACCOUNT", "ENDED LEASES", "WAITING"), rows, empty="")]
    replaced = [worker for worker in found.workers if worker.replaced_by is not None]
    for worker in replaced:
        lines += ["", _explain_replaced(worker)]
    if any(worker.blocks and worker not in replaced for worker in found.workers) and found.waiting:
        lines += [
            "",
            "start the workers that are behind; if one will never come back: `keyferry credits declare-lost WORKER`",
        ]
    return "\n".join(lines)


def _explain_replaced(worker: CreditWorker) -> str:
    command = f"keyferry credits declare-lost {worker.worker}"
    if worker.spool_id:
        command += f" --spool {worker.spool_id}"
    spool = worker.spool_id or "(unnamed)"
    return (
        f"{worker.worker} started again without its spool {spool}: give it back its directory and start it again,"
        f" or, if that is gone for good: `{command}`"
    )


def _row(worker: CreditWorker) -> tuple[str, ...]:
    if worker.replaced_by is not None:
        state = "replaced"
    else:
        state = "retired" if worker.settled_until is None else "behind" if worker.blocks else "reports"
    until = "everything" if worker.settled_until is None else format_time(worker.settled_until)
    return worker.worker, worker.spool_id or "-", until, format_time(worker.seen_at), state
