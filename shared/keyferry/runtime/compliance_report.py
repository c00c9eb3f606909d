"""The compliance report of a tenant: what the ledger has recorded, and the regions of its keys from the vault."""

from datetime import datetime, timedelta
from typing import Protocol

from keyferry.contracts.channels import Q, R, Subject
from keyferry.contracts.compliance import ComplianceReport, DataDestination, GetComplianceReport
from keyferry.contracts.compliance_management import COMPLIANCE_GET
from keyferry.contracts.key import ListKeys
from keyferry.contracts.residency import region_of
from keyferry.contracts.topology import KEY_LIST

USUAL_SPAN = timedelta(days=30)
_SECONDS = 30.0


class AskForReport(Protocol):
    """A management request over the bus."""

    async def __call__(self, subject: Subject[Q, R], question: Q, *, timeout_seconds: float) -> R:
        """Return the answer. Raises what the connection raises."""


def report_query(tenant: str, since: datetime | None, until: datetime | None, now: datetime) -> GetComplianceReport:
    """Return the query of a report: until now, and from 30 days before its end, where nothing is given."""
    end = now if until is None else until
    return GetComplianceReport(tenant=tenant, since=end - USUAL_SPAN if since is None else since, until=end)


async def compliance_report(ask: AskForReport, query: GetComplianceReport) -> ComplianceReport:
    """Return a report. Raises what `ask` raises."""
    report = await ask(COMPLIANCE_GET, query, timeout_seconds=_SECONDS)
    if not any(each.key_id for each in report.destinations):
        return report
    keys = (await ask(KEY_LIST, ListKeys(tenant=query.tenant), timeout_seconds=_SECONDS)).keys
    regions = {key.key_id: region for key in keys if (region := region_of(key.fields)) is not None}

    def placed(each: DataDestination) -> DataDestination:
        return each.model_copy(update={"region": regions.get(each.key_id or "")})

    return report.model_copy(update={"destinations": [placed(each) for each in report.destinations]})
