"""Routes for client tokens, the credentials of a tenant's programs."""

from typing import Annotated

from fastapi import Path as InPath
from fastapi import Query, Request, Response

from keyferry.contracts import client_token
from keyferry.contracts.client_token_management import TOKEN_END_OVERLAP, TOKEN_ROTATE
from keyferry.contracts.client_token_use import EndTokenOverlap, RotateClientToken
from keyferry.contracts.route import ListModels
from keyferry.contracts.tenancy import (
    ClientToken,
    ClientTokens,
    CreateClientToken,
    ListClientTokens,
    RevokeClientToken,
    UpdateClientToken,
)
from keyferry.contracts.topology import MODEL_LIST, TOKEN_CREATE, TOKEN_LIST, TOKEN_REVOKE, TOKEN_UPDATE
from keyferry.runtime.http.problem import HttpProblem
from services.console import own_tokens
from services.console.access import RouteSpec
from services.console.service_client import ServiceClient
from services.console.tenant_context import CurrentTenant, TenantContext
from services.console.token_bodies import (
    TOKEN_ID_PATTERN,
    CreateTokenBody,
    RotateTokenBody,
    TokenListQuery,
    TokenOrder,
    UpdateTokenBody,
)
from services.console.views import ClientTokenPage, CreatedClientToken, gone_cursor

NamedToken = Annotated[
    str, InPath(pattern=TOKEN_ID_PATTERN, description="A client token's id, as the list shows it; never the token")
]
_LAST = 4


class TokenRoutes:
    """The routes under `/client-tokens`."""

    def __init__(self, services: ServiceClient) -> None:
        self._services = services

    def specs(self) -> tuple[RouteSpec, ...]:
        """Return the routes."""
        base, one = "/client-tokens", "/client-tokens/{token_id}"
        return (
            RouteSpec("GET", base, "list_client_tokens", self.list_),
            RouteSpec("POST", base, "create_client_token", self.create, status=201),
            RouteSpec("GET", one, "get_client_token", self.get),
            RouteSpec("PATCH", one, "update_client_token", self.update),
            RouteSpec("DELETE", one, "revoke_client_token", self.revoke),
            RouteSpec("POST", f"{one}/rotate", "rotate_client_token", self.rotate),
            RouteSpec("POST", f"{one}/end-overlap", "end_client_token_overlap", self.end_overlap),
        )

    async def list_(self, context: CurrentTenant, query: Annotated[TokenListQuery, Query()]) -> ClientTokenPage:
        """List a tenant's client tokens, oldest first, including revoked and expired ones; developers see their own."""
        given = query.model_dump(exclude={"order"}, exclude_none=True)
        found = await self._list(context, newest_first=query.order is TokenOrder.NEWEST, **given)
        if not found.after_found:
            raise gone_cursor()
        return ClientTokenPage(data=found.tokens, next=found.tokens[-1].token_id if found.more else None)

    async def create(
        self, context: CurrentTenant, body: CreateTokenBody, request: Request, response: Response
    ) -> CreatedClientToken:
        """Create a client token. The response contains the token, which is shown only this once.

        The console generates it and passes on only its digest, so it cannot be recovered, only revoked.
        """
        member = own_tokens.member_of_new(context, body.member)
        own_tokens.check_team_of_new(context, body.team)
        token = client_token.mint()
        text = token.reveal()
        command = CreateClientToken(
            tenant=context.tenant,
            actor=context.actor,
            label=body.label,
            digest=client_token.digest(text),
            last4=text[-_LAST:],
            allowed_models=body.allowed_models,
            allowed_operations=body.allowed_operations,
            allowed_apis=body.allowed_apis,
            allowed_origins=body.allowed_origins,
            team=body.team,
            member=member,
            expires_at=body.expires_at,
            limits=body.limits,
        )
        created = await self._services.change(TOKEN_CREATE, command)
        response.headers["location"] = f"{request.url.path}/{created.token_id}"
        unknown = await self._find_unknown(context, body.allowed_models or [])
        return CreatedClientToken.model_validate({**created.model_dump(), "token": token, "unknown_models": unknown})

    async def get(self, context: CurrentTenant, token_id: NamedToken) -> ClientToken:
        """Return one client token's metadata."""
        return own_tokens.find(context, (await self._list(context, token_id=token_id)).tokens, token_id)

    async def update(self, context: CurrentTenant, token_id: NamedToken, body: UpdateTokenBody) -> ClientToken:
        """Change a client token: its label, expiry or limits, what it may do, or whether it is disabled.

        A change applies within a second. Limits never widen the tenant's.
        """
        await self._require_own(context, token_id)
        command = UpdateClientToken.model_validate(
            {"tenant": context.tenant, "token_id": token_id, "actor": context.actor, **body.changes()}
        )
        return await self._services.change(TOKEN_UPDATE, command)

    async def rotate(self, context: CurrentTenant, token_id: NamedToken, body: RotateTokenBody) -> CreatedClientToken:
        """Give a client token a new secret. The response contains it, which is shown only this once.

        The id, and with it limits, scopes, budgets and usage, stays. The old secret is accepted until the overlap ends.
        """
        await self._require_own(context, token_id)
        token = client_token.mint()
        text = token.reveal()
        command = RotateClientToken(
            tenant=context.tenant,
            token_id=token_id,
            actor=context.actor,
            digest=client_token.digest(text),
            last4=text[-_LAST:],
            overlap_seconds=body.overlap_seconds,
        )
        rotated = await self._services.change(TOKEN_ROTATE, command)
        return CreatedClientToken.model_validate({**rotated.model_dump(), "token": token})

    async def end_overlap(self, context: CurrentTenant, token_id: NamedToken) -> ClientToken:
        """Stop accepting the secret that a client token had before its last rotation."""
        await self._require_own(context, token_id)
        command = EndTokenOverlap(tenant=context.tenant, token_id=token_id, actor=context.actor)
        return await self._services.change(TOKEN_END_OVERLAP, command)

    async def revoke(self, context: CurrentTenant, token_id: NamedToken) -> ClientToken:
        """Revoke a client token everywhere. Revoking it again changes nothing."""
        await self._require_own(context, token_id)
        command = RevokeClientToken(tenant=context.tenant, token_id=token_id, actor=context.actor)
        return await self._services.change(TOKEN_REVOKE, command)

    async def _find_unknown(self, context: TenantContext, models: list[str]) -> list[str]:
        """Return the models that lead nowhere now. The token is created, so a failed lookup is no error."""
        if not models:
            return []
        try:
            query = ListModels(tenant=context.tenant, allowed_models=models, unavailable=True)
            return (await self._services.read(MODEL_LIST, query)).unknown
        except HttpProblem:
            return []

    async def _require_own(self, context: TenantContext, token_id: str) -> None:
        """Raise HttpProblem 404 for a token that does not exist for the role. Admins' are checked by the directory."""
        if own_tokens.sees_only_own(context):
            own_tokens.find(context, (await self._list(context, token_id=token_id)).tokens, token_id)

    async def _list(self, context: TenantContext, **given: object) -> ClientTokens:
        """Return what there is for the role: a developer's list is of the own tokens, whatever member it asks for."""
        query = own_tokens.narrow(context, given)
        if query is None:
            return ClientTokens(tokens=[])
        asked = ListClientTokens.model_validate({"tenant": context.tenant, **query})
        found = await self._services.read(TOKEN_LIST, asked)
        return found.model_copy(update={"tokens": own_tokens.visible(context, found.tokens)})
