"""Requests of the log as text. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal

from keyferry.cli.terminal import format_table, format_time, format_usd
from keyferry.contracts.money import describe_sum, plain
from keyferry.contracts.request_log import CostArithmetic, LoggedRequest, RequestPage, ShownRequest
from keyferry.contracts.route import DecisionRecord
from keyferry.contracts.usage import LedgerRow

HEADS = (
    "TIME",
    "REQUEST",
    "OUTCOME",
    "MODEL",
    "PROVIDER",
    "KEY",
    "TRIES",
    "TOKENS",
    "COST",
    "CHARGE",
    "LATENCY",
    "ERROR",
)
_WIDTHS = (20, 30, 13, 22, 12, 8, 5, 7, 12, 12, 9, 0)
"""Of columns that are printed one line at a time."""


def request_cells(request: LoggedRequest) -> tuple[str, ...]:
    """Return the cells of a request under `HEADS`."""
    served = request.model_served or ""
    model = request.model_asked if served in ("", request.model_asked) else f"{request.model_asked} > {served}"
    return (
        format_time(request.started_at),
        request.request_id,
        request.outcome.value,
        model,
        request.endpoint or request.provider or "-",
        "-" if request.key_source is None else request.key_source.value,
        str(len(request.attempts)),
        str(request.tokens),
        describe_sum(request.cost_usd, request.unpriced),
        format_micro(request.charge_micro_usd),
        "-" if request.latency_ms is None else f"{request.latency_ms} ms",
        "" if request.error_class is None else request.error_class.value,
    )


def format_requests(requests: Sequence[LoggedRequest], page: RequestPage) -> list[str]:
    """Return the table of requests, and how many there are if they were counted; `page` is the first one."""
    lines = [format_table(HEADS, [request_cells(one) for one in requests], empty="no request matches")]
    if page.total is not None:
        lines.append(f"{page.total.count}{'+' if page.total.more else ''} requests match")
    return lines


def format_line(cells: Iterable[str]) -> str:
    """Return the cells of one request, or the heads, for output line by line."""
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, _WIDTHS, strict=True)).rstrip()


def format_micro(amount: int | None) -> str:
    """Return an amount of micro-dollars in dollars, or a dash."""
    return "-" if amount is None else format_usd(Decimal(amount).scaleb(-6))


def format_shown(shown: ShownRequest, request_id: str) -> list[str]:
    """Return a request with its decisions in short, its attempts and the arithmetic of their costs."""
    lines = [f"Request   {request_id}"]
    if (request := shown.request) is not None:
        error = f": {request.error} ({request.error_class})" if request.error is not None else ""
        lines.append(f"Outcome   {request.outcome}{error}")
        lines.append(
            f"Cost      {describe_sum(request.cost_usd, request.unpriced)}, charge {format_micro(request.charge_micro_usd)}"
        )
        if request.trace_id is not None:
            lines.append(f"Trace     {request.trace_id}")
    lines += [f"Decision  {_decision(decision)}" for decision in shown.decisions]
    for row, arithmetic in zip(shown.attempts, shown.arithmetic, strict=True):
        lines += _attempt(row, arithmetic)
    lines.append(
        f"`explain {request_id}` shows every candidate and the reasons, `trace {request_id}` where its time went"
    )
    return lines


def _decision(decision: DecisionRecord) -> str:
    """Return one line: what was chosen or why it was refused."""
    number = f"for attempt {decision.attempt_number}, {decision.decision_id}"
    if decision.refusal is not None:
        return f"refused: {decision.refusal.message} ({number})"
    if not decision.order:
        return f"nothing was chosen ({number})"
    chosen = decision.candidates[decision.order[0]]
    others = len(decision.candidates) - 1
    return f"{chosen.endpoint or chosen.provider}/{chosen.model} of {others + 1} candidates ({number})"


def _attempt(row: LedgerRow, arithmetic: CostArithmetic) -> Iterator[str]:
    record = row.record
    yield (
        f"Attempt {record.attempt_number} {record.endpoint or record.provider}/{record.model}: {record.outcome} in"
        f" {record.latency_ms} ms ({record.attempt_id})"
    )
    if record.failure is not None:
        yield f"  failure   {record.failure.message} ({record.failure.failure_class})"
    for line in arithmetic.lines:
        yield (
            f"  {line.kind:<14} {line.tokens} x ${plain(line.usd_per_million)} / 1000000 = {format_usd(line.cost_usd)}"
        )
    if arithmetic.per_request_usd is not None:
        yield f"  per call       {format_usd(arithmetic.per_request_usd)}"
    version = "" if arithmetic.price_version is None else f" at prices {arithmetic.price_version}"
    yield f"  cost           {format_usd(arithmetic.cost_usd)}{version}"
    yield f"  charge         {_charge(arithmetic)}"
    if (before := row.before_rerating) is not None:
        version = "" if before.price_version is None else f" at prices {before.price_version}"
        charge = "none" if before.charge_micro_usd is None else format_micro(before.charge_micro_usd)
        yield f"  recorded       cost {format_usd(before.cost_usd)}{version}, charge {charge}"
        yield f"  corrected by   the re-rating {before.rerate_id}"


def _charge(arithmetic: CostArithmetic) -> str:
    amount = format_micro(arithmetic.charge_micro_usd)
    if arithmetic.charge_micro_usd is None:
        return "none"
    beyond = arithmetic.absorbed_micro_usd
    absorbed = f", {format_micro(beyond)} beyond the hold is not charged" if beyond else ""
    if arithmetic.fee_micro_usd is not None:
        return f"{amount}, the fee for a call with an own key{absorbed}"
    if arithmetic.factor is None:
        return f"{amount} by plan {arithmetic.plan_version}{absorbed}"
    terms = [f"{plain(arithmetic.factor)}"]
    if arithmetic.multiplier is not None and arithmetic.markup_percent is not None:
        terms = [
            f"{plain(arithmetic.multiplier)} ({arithmetic.charged_level})",
            f"(1 + {plain(arithmetic.markup_percent)} %)",
        ]
    return f"{format_usd(arithmetic.cost_usd)} x {' x '.join(terms)} = {amount}, rounded once{absorbed}"
