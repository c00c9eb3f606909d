"""Monthly statements of a tenant: what happened to its credits, what was used, and what connects the two.

A month is one of the zone that the tenant bills by. Transfers count in the month in which they were posted, attempts in the one
in which they began; the reconciliation leads from the charges of the one to those of the other. Every amount is exact. Pure.
"""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from keyferry.contracts.analytics import Dimension
from keyferry.contracts.analytics_answers import BreakdownRow, UsageFigures
from keyferry.contracts.credit_management import Reason
from keyferry.contracts.envelope import Command, Message
from keyferry.contracts.ids import Actor, Operation, Reference, TenantId
from keyferry.contracts.text import BIGINT_MAX, Count, Identifier, Line, Mark, Moment, Refusing

MAX_STATEMENT_LINES = 1500
"""Lines of usage in one statement; the others are one more."""
MAX_STATEMENT_ROWS = 200
"""Rows of each breakdown; the others are one more."""
MAX_STATEMENT_TAGS = 8
"""Tags that have a breakdown of their own: those of the most attempts."""
MAX_STATEMENT_ENTRIES = 1000
"""Transfers that are listed one by one."""
MAX_STATEMENTS = 120
"""Months in a list."""
MONTH_FORM = "a month, such as 2026-11"

StatementMonth = Annotated[str, Refusing(7, 7, pattern=r"^[0-9]{4}-(?:0[1-9]|1[0-2])$", form=MONTH_FORM)]
SignedMicroUsd = Annotated[int, Field(strict=True, ge=-BIGINT_MAX, le=BIGINT_MAX)]
"""Micro-dollars; negative where something was taken."""


class StatementState(StrEnum):
    """How far a month is."""

    OPEN = "open"
    """It lasts: the statement is up to now."""
    SETTLING = "settling"
    """It has ended, and attempts that began in it may still be recorded."""
    CLOSED = "closed"
    """Every attempt that began in it is recorded, as far as the attempts' stream shows."""


class StatementEntryKind(StrEnum):
    """What changed a balance. Each transfer of the ledger has one of these."""

    PURCHASE = "purchase"
    GRANT = "grant"
    REFUND = "refund"
    """Money went back to the payer, and its credits were taken."""
    DISPUTE = "dispute"
    """The payer's bank took money back, and its credits were taken; or the dispute was won and they came back."""
    DEBT = "debt"
    """Credits paid what an earlier refund or dispute could not take."""
    ADJUSTMENT = "adjustment"
    CHARGE = "charge"
    """Requests."""
    CORRECTION = "correction"
    """Requests were charged by a wrong price before."""
    OTHER = "other"
    """A transfer of a purpose that this build does not know."""


class StatementSum(Message):
    """The transfers of one kind in the month."""

    kind: StatementEntryKind
    transfers: Count
    amount_micro_usd: SignedMicroUsd


class StatementEntry(Message):
    """One transfer that is no charge of requests."""

    entry_id: Identifier
    kind: StatementEntryKind
    at: Moment
    amount_micro_usd: SignedMicroUsd
    reason: Reason | None = None
    actor: Actor | None = None
    source: Reference | None = None
    source_id: Identifier | None = None
    """The id of the payment, refund or dispute at its source."""


class StatementAccount(Message):
    """The tenant's credits in the month: the opening balance and all sums make the closing balance."""

    opening_micro_usd: SignedMicroUsd
    closing_micro_usd: SignedMicroUsd
    """At the end of the month; up to now while it lasts."""
    sums: list[StatementSum]
    """One for each kind that occurs."""
    entries: list[StatementEntry]
    """In the order in which they were posted."""
    entries_left_out: Count = 0
    """How many there are beyond the number that a statement lists; the sums have them."""


class ReconciliationKind(StrEnum):
    """Why the charges of a month's attempts and those that were posted in the month differ."""

    RECORDED_IN_OTHER_MONTH = "recorded_in_other_month"
    """Attempts began in this month and were recorded in another; taken away."""
    BEGUN_IN_OTHER_MONTH = "begun_in_other_month"
    """Attempts were recorded in this month and began in another; added."""
    RERATED = "rerated"
    """What re-ratings, whenever they were made, changed of this month's attempts; taken away."""
    CORRECTIONS = "corrections"
    """What re-ratings posted in this month, whatever month their attempts are of; added."""
    UNCOLLECTED = "uncollected"
    """Charges recorded in this month that found no credits: the platform bears them; taken away."""
    REMOVED = "removed"
    """What cannot be attributed, because attempts were removed by retention or with the tenant."""


class ReconciliationLine(Message):
    """One reason, with how many attempts and what they add to the posted charges."""

    kind: ReconciliationKind
    attempts: Count
    amount_micro_usd: SignedMicroUsd


class StatementReconciliation(Message):
    """From the charges of the attempts that began in the month to those that were posted in it: usage and lines make posted."""

    usage_micro_usd: Count
    lines: list[ReconciliationLine]
    posted_micro_usd: SignedMicroUsd
    """What charges and corrections took from the tenant's credits in the month."""


class StatementBreakdown(Message):
    """The usage of the month by one dimension. Rows and rest make the total of the statement."""

    by: Dimension
    tag: Operation | None = None
    """The name of the tag if `by` is `tag`: an attempt without the tag is in the row of the kind `none`."""
    rows: list[BreakdownRow]
    rest_count: Count = 0
    rest: UsageFigures | None = None


class GetStatement(Command):
    """Request the statement of one month; it is computed from the ledger whenever somebody asks."""

    tenant: TenantId
    month: StatementMonth
    tag: Operation | None = None
    """Split the lines by the value of this tag, too: then they are added up from the attempts themselves."""


class ListStatements(Command):
    """Request the months of a tenant that have a statement."""

    tenant: TenantId


class StatementPeriod(Message):
    """The month that a statement is of."""

    month: StatementMonth
    tz: Line
    """The zone that the month is of: for a month that has ended the one that the tenant had then."""
    since: Moment
    until: Moment
    """Exclusive. The following month begins then, also if the tenant has changed its zone."""
    state: StatementState


class Statement(StatementPeriod):
    """The statement of one month."""

    tenant: TenantId
    tenant_name: Line
    as_of: Moment
    """When the ledger was read: the whole statement is of one moment."""
    complete_until: Moment | None = None
    """Every attempt that began earlier is recorded; null if that is not known now."""
    account: StatementAccount
    total: UsageFigures
    own_keys: UsageFigures
    """The part on the tenant's own keys and servers. Its cost is an estimate at list prices: the provider bills it."""
    platform_keys: UsageFigures
    by: list[Dimension]
    """What the lines are split by."""
    tag: Operation | None = None
    lines: list[BreakdownRow]
    """By model, provider, kind of key and team, and by the value of `tag` if there is one."""
    lines_left_out: Count = 0
    rest: UsageFigures | None = None
    """What is in no line of its own, among it attempts that retention removed of a statement by tag."""
    breakdowns: list[StatementBreakdown]
    reconciliation: StatementReconciliation
    fingerprint: Mark
    """A digest of everything that the ledger says: two statements of one month with the same are the same."""


class StatementSummary(StatementPeriod):
    """One month of a list."""

    opening_micro_usd: SignedMicroUsd
    closing_micro_usd: SignedMicroUsd
    credited_micro_usd: SignedMicroUsd
    """Everything that was posted in the month but charges and corrections of requests."""
    posted_micro_usd: SignedMicroUsd
    """What charges and corrections took."""
    usage: UsageFigures
    """Of the attempts that began in the month."""


class Statements(Message):
    """The months of a tenant, newest first."""

    tenant: TenantId
    as_of: Moment
    statements: list[StatementSummary]
