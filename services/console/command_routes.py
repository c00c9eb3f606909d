"""The commands of the command line over HTTP: each is one management request, sent as the bus would carry it."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from fastapi import Path as InPath
from fastapi import Request, Response
from pydantic import ConfigDict, ValidationError

from keyferry.contracts.access_role import AccessRole
from keyferry.contracts.envelope import Message
from keyferry.contracts.key import IntakeKey
from keyferry.contracts.tenancy import ClientTokens, CreateClientToken, ListClientTokens
from keyferry.contracts.topology import SUBJECTS, TENANT_CREATE, TOKEN_LIST, AnySubject
from keyferry.runtime.http.problem import HttpProblem
from services.console import own_tokens
from services.console.access import COMMANDS_PATH, OWN_PREFIX, RouteSpec
from services.console.bodies import Body
from services.console.command_access import AVAILABLE, COMMANDS, CommandRule
from services.console.key_routes import KEY_ID_PATTERN
from services.console.operator_access import OperatorAccess
from services.console.problem import not_found
from services.console.sealing import Sealer
from services.console.self_access import needs_step_up
from services.console.service_client import ServiceClient
from services.console.tenant_bodies import REQUEST_ID_PATTERN
from services.console.tenant_context import CurrentTenant, TenantContext, require_step_up
from services.console.token_bodies import TOKEN_ID_PATTERN
from services.console.validation import NOT_FOUND, problem_from_faults

M = TypeVar("M", bound=Message)

NamedCommand = Annotated[
    str,
    InPath(
        pattern=r"^[a-z_]{1,40}\.[a-z_]{1,40}$",
        description="The `noun.verb` of a management request; docs/architecture/subjects.md lists them",
        json_schema_extra={"enum": list(AVAILABLE)},
    ),
]
BY_NAME: Mapping[str, AnySubject] = {subject.name: subject for subject in SUBJECTS if subject.name in COMMANDS}
"""The subjects of the commands."""
_ID_FORMS = {"key_id": KEY_ID_PATTERN, "token_id": TOKEN_ID_PATTERN, "request_id": REQUEST_ID_PATTERN}
"""Services repeat ids in their refusals, so what may be a misplaced key goes no further, as on the routes."""
FILTERS_BY_ACTOR = frozenset({"audit.list"})
"""The commands whose `actor` is no sender, but whose entries are wanted."""


class CommandBody(Body):
    """A management request: the JSON of its message, as the AsyncAPI document and the schemas of the messages describe it.

    Members may leave out `tenant`, which is their own. `actor`, `actor_role` and `actor_member` are those of the credential,
    whatever is given; only in `audit.list` is `actor` a filter.
    """

    model_config = ConfigDict(extra="allow", json_schema_extra={"examples": [{}, {"tenant": "initech"}]})

    def given(self) -> Mapping[str, object]:
        """Return the fields."""
        return self.model_extra or {}


class CommandRoutes:
    """The route `/commands/{subject}`."""

    def __init__(self, services: ServiceClient, sealer: Sealer, access: OperatorAccess) -> None:
        self._services = services
        self._access = access
        self._sealer = sealer

    def specs(self) -> tuple[RouteSpec, ...]:
        """Return the route."""
        return (RouteSpec("POST", COMMANDS_PATH.removeprefix(OWN_PREFIX), "send_command", self.send),)

    async def send(
        self, context: CurrentTenant, subject: NamedCommand, body: CommandBody, request: Request
    ) -> Response:
        """Send a management request and return its answer, the message that the service answers with.

        This is what `keyferry` does for a signed-in member; the other routes are easier for programs. Operators name any tenant;
        for everybody else there is no tenant but their own.
        """
        rule = _admit(context, subject)
        target = BY_NAME[subject]
        question = _decode(context, target, body.given(), await request.body())
        await self._enter(context, target, question, request)
        question = await self._narrow_tokens(context, target, question)
        send = self._services.change if rule.changes else self._services.read
        reply = await send(target, question, timeout_seconds=rule.seconds)
        if isinstance(reply, ClientTokens):
            reply = reply.model_copy(update={"tokens": own_tokens.visible(context, reply.tokens)})
        elif isinstance(reply, IntakeKey):
            self._sealer.require_pinned(reply)
        return Response(reply.encode(), media_type="application/json")

    async def _enter(self, context: TenantContext, subject: AnySubject, question: Message, request: Request) -> None:
        """Check the tenant that an operator names, as on the routes, and record what the operator reads of it."""
        tenant = getattr(question, "tenant", None)
        if context.role is AccessRole.OPERATOR and tenant is not None and subject is not TENANT_CREATE:
            await self._services.require_tenant(tenant)
            await self._access.record_command(context, tenant, subject.name, request)

    async def _narrow_tokens(self, context: TenantContext, subject: AnySubject, question: M) -> M:
        """Return the request as a developer may send it. Raises HttpProblem for the client token of somebody else."""
        if not own_tokens.sees_only_own(context) or not subject.name.startswith("token."):
            return question
        if isinstance(question, CreateClientToken):
            member = own_tokens.member_of_new(context, question.member)
            own_tokens.check_team_of_new(context, question.team)
            return question.model_copy(update={"member": member})
        token_id = getattr(question, "token_id", None)
        if token_id is not None:
            found = await self._services.read(TOKEN_LIST, ListClientTokens(tenant=context.tenant))
            own_tokens.find(context, found.tokens, token_id)
        return question


def _admit(context: TenantContext, name: str) -> CommandRule:
    """Return the rule of a command. Raises HttpProblem 404 for none, 403 and 401 where it is not allowed."""
    rule = COMMANDS.get(name)
    if rule is None:
        raise not_found(NOT_FOUND["subject"])
    if rule.unavailable:
        raise not_found(f"this command is not available over HTTP: {rule.unavailable}")
    if context.role not in rule.roles:
        raise HttpProblem(403, "permission_error", "not_allowed", "your role does not allow this command")
    if rule.route is not None and needs_step_up(*rule.route):
        require_step_up(context)
    return rule


def _decode(context: TenantContext, subject: AnySubject, given: Mapping[str, object], raw: bytes) -> Message:
    """Return the message with the tenant and the actor that are allowed. Raises HttpProblem.

    The bytes are parsed as the owner would parse them: going through Python's numbers would change amounts.
    """
    fields = subject.message.model_fields
    own: dict[str, Any] = {}
    if context.role is not AccessRole.OPERATOR and "tenant" in fields:
        if given.get("tenant") not in (None, context.tenant):
            raise not_found(NOT_FOUND["tenant"])
        own["tenant"] = context.tenant
        if "tenant" not in given:
            raw = _with_tenant(raw, context.tenant, alone=not given)
    _check_ids(subject, given)
    try:
        question: Message = subject.message.model_validate_json(raw)
    except ValidationError as error:
        faults = error.errors(include_url=False)
        raise problem_from_faults({**fault, "loc": ("body", *fault["loc"])} for fault in faults) from None
    if "actor" in fields and subject.name not in FILTERS_BY_ACTOR:
        own["actor"] = context.actor
    if "actor_role" in fields:
        own["actor_role"] = context.role
    if "actor_member" in fields:
        own["actor_member"] = None if context.role is AccessRole.OPERATOR else context.member
    return question.model_copy(update=own)


def _with_tenant(raw: bytes, tenant: str, *, alone: bool) -> bytes:
    """Return a JSON object with the field `tenant`, which it does not have."""
    return b'{"tenant":"%s"%s%s' % (tenant.encode(), b"" if alone else b",", raw.lstrip()[1:])


def _check_ids(subject: AnySubject, given: Mapping[str, object]) -> None:
    for name, form in _ID_FORMS.items():
        field, value = subject.message.model_fields.get(name), given.get(name)
        if field is None or not field.is_required() or not isinstance(value, str):
            continue
        if not re.fullmatch(form.removeprefix("^").removesuffix("$"), value):
            raise not_found(NOT_FOUND[name])
