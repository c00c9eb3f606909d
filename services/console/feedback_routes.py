"""Routes for ratings of answers."""

from typing import Annotated

from fastapi import Query

from keyferry.contracts.feedback import (
    Feedback,
    FeedbackPreview,
    ListFeedback,
    PreviewFeedback,
    RatedModel,
    SaveFeedback,
)
from keyferry.contracts.routing_management import FEEDBACK_LIST, FEEDBACK_PREVIEW, FEEDBACK_SAVE
from services.console.access import RouteSpec
from services.console.bodies import Paging
from services.console.service_client import ServiceClient
from services.console.tenant_bodies import FeedbackBody, PreviewQuery
from services.console.tenant_context import CurrentTenant
from services.console.views import RatingPage, paginate


class FeedbackRoutes:
    """The routes under `/feedback`."""

    def __init__(self, services: ServiceClient) -> None:
        self._services = services

    def specs(self) -> tuple[RouteSpec, ...]:
        """Return the routes."""
        return (
            RouteSpec("POST", "/feedback", "save_feedback", self.save, status=201),
            RouteSpec("GET", "/feedback", "list_feedback", self.list_),
            RouteSpec("GET", "/feedback/preview", "preview_feedback", self.preview),
        )

    async def save(self, context: CurrentTenant, body: FeedbackBody) -> Feedback:
        """Rate the answer to a request. A later rating by the same rater replaces the earlier one."""
        command = SaveFeedback(
            tenant=context.tenant,
            request_id=body.request_id,
            rating=body.rating,
            rater=body.rater,
            operation=body.operation,
            comment=body.comment,
        )
        return await self._services.change(FEEDBACK_SAVE, command)

    async def list_(self, context: CurrentTenant, query: Annotated[Paging, Query()]) -> RatingPage:
        """List the sums of a tenant's ratings by model and operation."""
        found = await self._services.read(FEEDBACK_LIST, ListFeedback(tenant=context.tenant))
        data, following = paginate(found.models, name_rated, query.limit, query.after)
        return RatingPage(data=data, next=following)

    async def preview(self, context: CurrentTenant, query: Annotated[PreviewQuery, Query()]) -> FeedbackPreview:
        """Show how the tenant's ratings would change the ranks of models, whether or not they are applied."""
        command = PreviewFeedback(tenant=context.tenant, operation=query.operation)
        return await self._services.read(FEEDBACK_PREVIEW, command)


def name_rated(row: RatedModel) -> str:
    """Return the cursor of a row."""
    return f"{row.provider}/{row.model}:{row.operation or ''}"
