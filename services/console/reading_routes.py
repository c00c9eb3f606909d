"""What is only read: providers, models, and the audit."""

from typing import Annotated

from fastapi import Query

from keyferry.contracts.audit import AuditEntries, AuditVerification, ListAudit, VerifyAudit
from keyferry.contracts.route import Models
from keyferry.contracts.topology import AUDIT_LIST, AUDIT_VERIFY, MODEL_LIST
from services.console.acting import For
from services.console.asking import WHOLE_AUDIT_SECONDS, Questions
from services.console.bodies import AuditPaging, ModelFilters, Paging
from services.console.model_query import question
from services.console.paging import page
from services.console.routing_table import Route
from services.console.views import AuditPage, ModelPage, ProviderPage, providers


class ReadingRoutes:
    """Routes that change nothing."""

    def __init__(self, questions: Questions) -> None:
        self._questions = questions

    def table(self) -> tuple[Route, ...]:
        """The routes."""
        return (
            Route("GET", "/providers", "list_providers", self.providers),
            Route("GET", "/models", "list_models", self.models),
            Route("GET", "/audit", "list_audit", self.audit),
            Route("GET", "/audit/verify", "verify_audit", self.verify_audit),
        )

    async def providers(self, who: For, query: Annotated[Paging, Query()]) -> ProviderPage:
        """The providers whose keys can be stored: what a key looks like, where to get one, what is needed beside it."""
        data, following = page(providers(), lambda provider: provider.name, query.limit, query.after)
        return ProviderPage(data=data, next=following)

    async def models(self, who: For, query: Annotated[ModelFilters, Query()]) -> ModelPage:
        """What a tenant can call now."""
        found = await self._questions.read(MODEL_LIST, question(who.tenant, query), Models)
        data, following = page(found.models, lambda model: model.id, query.limit, query.after)
        return ModelPage(data=data, next=following)

    async def audit(self, who: For, query: Annotated[AuditPaging, Query()]) -> AuditPage:
        """Who did what, newest first."""
        before = None if query.after is None else int(query.after)
        asked = ListAudit(tenant=who.tenant, before=before, limit=query.limit)
        entries = (await self._questions.read(AUDIT_LIST, asked, AuditEntries)).entries
        whole = len(entries) == query.limit and entries[-1].position > 1
        return AuditPage(data=entries, next=str(entries[-1].position) if whole else None)

    async def verify_audit(self, who: For) -> AuditVerification:
        """Recompute the tenant's chain: `faults` is empty when nothing was changed, cut off, reordered or left out."""
        asked = VerifyAudit(tenant=who.tenant)
        return await self._questions.read(AUDIT_VERIFY, asked, AuditVerification, timeout_seconds=WHOLE_AUDIT_SECONDS)
