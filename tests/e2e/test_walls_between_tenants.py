"""Two tenants with real objects: the id of another tenant's object is answered byte for byte like one that does not exist.

So on every route and every command that takes an id, and without any effect on the other tenant. A parameter or a field of a new
name fails here: add it to `ID_NAMES`, and a new kind of object to `make_objects` as well.
"""

import asyncio
import json
import re
import secrets
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

import httpx

from keyferry.contracts import ids, invitation_code
from keyferry.contracts.access_role import AccessRole
from keyferry.contracts.channels import Q, R, Subject
from keyferry.contracts.membership import AcceptInvitation, SignedInPerson
from keyferry.contracts.membership_management import INVITATION_ACCEPT
from keyferry.contracts.topology import Role
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.http.address_limiter import AddressLimiter
from keyferry.runtime.http.asgi import Scope, get_header
from keyferry.runtime.process.settings import ServiceSettings
from keyferry.runtime.tracing.telemetry import Telemetry
from services.console.access import COMMANDS_PATH, INSTALLATION_PREFIX, OWN_PREFIX
from services.console.authentication import OPERATOR, InvalidCredential, Principal
from services.console.command_access import AVAILABLE, COMMANDS, may_send
from services.console.command_routes import BY_NAME
from services.console.handlers import build_application
from services.console.middleware import ManagementMiddleware
from services.console.sealing import Sealer
from services.console.self_access import SELF_ROUTES
from tests.support.servers.operator_only import no_page, no_sign_in
from tests.support.system.keyferry_system import KeyferrySystem
from tests.support.vault.keyed_system import KeyedSystem, TenantAccount
from tests.support.waiting import eventually_async, until
from tests.unit.console.surface import openapi_document
from tests.unit.console.test_access import ROUTES
from tests.unit.console.test_role_matrix import example_of

HERE, THERE, NOWHERE = "walls-here", "walls-there", "walls-nowhere"
"""The caller's tenant, another one, and one that does not exist."""

ID_NAMES = {
    "key_id": "key",
    "key": "key",
    "token_id": "token",
    "client_token": "token",
    "client_token_id": "token",
    "budget_id": "budget",
    "reconciliation_id": "reconciliation",
    "rule_id": "alert_rule",
    "alert_id": "alert",
    "endpoint_id": "webhook",
    "target_id": "webhook",
    "channel_id": "channel",
    "channels": "channel",
    "secret_id": "secret",
    "report_id": "report",
    "request_id": "request",
    "trace": "request",
    "id": "request",
    "member_id": "member",
    "member": "member",
    "members": "member",
    "add": "member",
    "remove": "member",
    "invitation_id": "invitation",
    "team": "team",
    "teams": "team",
    "endpoint": "endpoint",
    "created_by": "member",
}
"""The names of parameters and fields that stand for an object of a tenant, and the kind of object."""
NAMED = {"endpoints": "endpoint", "internal-services": "service", "endpoint": "endpoint", "internal_service": "service"}
"""What a `name` stands for, by the first part of the path or by the noun of the command."""
NO_OBJECTS = {"subject", "name", "month", "provider", "purchase"}
"""Parameters of paths that are handled apart; purchases need Stripe, so tests/integration/billing tries those of others."""
MAKES = {"token.create", "team.create", "endpoint.save", "internal_service.create", "budget.save"}
"""Commands that make something: a name in them is that of the new object."""
_RULE = {"name": "used", "metric": "requests", "condition": {"threshold": "1"}, "window": "month"}
COMMAND_BODIES: Mapping[str, Mapping[str, object]] = {
    "token.create": {"label": "x", "last4": "abcd"},
    "token.update": {"limits": {"rpm": 5}},
    "team.create": {"team": "new"},
    "team.update": {"team": "none"},
    "member.update": {"role": "viewer"},
    "feedback.save": {"rating": "up"},
    "preferences.save": {"preferences": {"max_tokens": 5}},
    "cost.estimate": {"model": "echo"},
    "key.rotate": {"sealed": "kfs1.AAAA"},
    "key.edit": {"label": "x"},
    "budget.save": {"scope": "tenant", "window": {"calendar": "month"}, "limit_micro_usd": 5},
    "integration_secret.rotate": {"sealed": "kfs1.AAAA"},
    "alert_rule.save": _RULE,
    "alert_rule.preview": _RULE,
    "channel.save": {"name": "new", "kind": "webhook"},
    "report.save": {"name": "new", "frequency": "monthly"},
    "webhook_endpoint.save": {"name": "new", "url": "https://hooks.example.com/new", "event_types": ["key.changed"]},
}
"""What a command needs beside the id."""
ROUTE_BODIES: Mapping[tuple[str, str], Mapping[str, object]] = {
    ("/notification-channels", "secret_id"): {"name": "new", "kind": "slack"},
    ("/notification-channels", "endpoint_id"): {"name": "new", "kind": "webhook"},
}
"""Bodies in which a field may have an id, where the example of the route has none."""
_PATIENT_SECONDS = 120.0
_RELOADED = "Reloaded server configuration"
_LAST_USE = re.compile(r'"last_used_at":(?:null|"[^"]*")')
"""That a token was used is noted up to a minute later."""
_MOMENTS = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|\+00:00)")
_DURATIONS = re.compile(r"\bin [0-9]+ ms\b")
_NEW_IDS = re.compile(
    r"\b(?:req|tok|bud|key|inv|mem|aud|whe|chn|rep|rcn|alr|alt|isec)_[0-9a-v]{26}\b"
    r'|\bkf_live_[0-9A-Za-z]+|"last4":"[0-9A-Za-z]{4}"'
)
_CHANGING = frozenset(
    {"date", "x-request-id", "content-length", "keyferry-as-of", "keyferry-complete-until", "location"}
)
_SETTLING = (
    *(
        "/audit",
        "/health",
        "/usage",
        "/vault",
        "/requests",
        "/allowance",
        "/credits",
        "/invoices",
        "/providers",
        "/models",
    ),
    *("/export", "/compliance"),
)
"""Readings that change by themselves: the audit log is compared apart, and no request is sent meanwhile.

The last two repeat the others.
"""


@dataclass
class Console:
    """The console's routes on the system's bus; a credential is the name of a tenant, whose owner it is, or the operator's."""

    client: httpx.AsyncClient
    bus: Bus
    principals: dict[str, Principal]

    async def join(self, tenant: str, address: str, role: str, inviting: str) -> str:
        """Make somebody a member by an invitation, and return the member's id."""
        prefix = f"/ops/tenants/{tenant}" if inviting == OPERATOR.actor else ""
        invited = await self.make(inviting, f"{prefix}/invitations", {"email": address, "role": role})
        accepted = AcceptInvitation(
            digest=invitation_code.digest(invited["code"]),
            person=SignedInPerson(user_id=f"usr-{address}", email=address, email_verified=True),
        )
        return (await self.bus.ask(INVITATION_ACCEPT, accepted, timeout_seconds=60)).member_id

    async def add_owner(self, tenant: str) -> None:
        """Give a tenant the owner who asks in its name."""
        member = await self.join(tenant, f"owner@{tenant}.example", "owner", OPERATOR.actor)
        self.principals[tenant] = Principal(AccessRole.OWNER, tenant, f"member:{member}", member)

    async def ask(self, tenant: str, method: str, path: str, body: object = None, **query: str) -> httpx.Response:
        """Send a request of the owner of a tenant."""
        more: dict[str, Any] = {} if body is None else {"json": body}
        headers = {"authorization": f"Bearer {tenant}"}
        return await self.client.request(method, path, headers=headers, params=query or None, **more)

    async def make(self, tenant: str, path: str, body: object, method: str = "POST") -> dict[str, Any]:
        """Make something, and return what it is."""
        made = await self.ask(tenant, method, OWN_PREFIX + path, body)
        assert made.status_code in (200, 201), made.text
        found: dict[str, Any] = made.json()
        return found

    async def first_alert(self, tenant: str, rule_id: str) -> str:
        """Return the id of an alert once a rule has fired."""

        async def fired() -> str | None:
            answer = await self.ask(tenant, "GET", f"{OWN_PREFIX}/alerts", rule_id=rule_id)
            return next((str(alert["alert_id"]) for alert in answer.json()["alerts"]), None)

        return await eventually_async("an alert fires", fired)


@asynccontextmanager
async def console(system: KeyferrySystem) -> AsyncIterator[Console]:
    """Run the routes in this process."""
    settings = ServiceSettings(
        nats_url=system.state["nats_url"], nats_nkey_file=system.home / "secrets" / "nkeys" / "console.seed"
    )
    bus = Bus(Role.CONSOLE, settings)
    await bus.connect()

    async def ask(subject: Subject[Q, R], question: Q, *, timeout_seconds: float) -> R:
        # However long a service takes: a 503 instead of its answer would hide a difference.
        return await bus.ask(subject, question, timeout_seconds=max(timeout_seconds, _PATIENT_SECONDS))

    pinned = (system.home / "secrets" / "vault" / "intake-key.pub").read_text().strip()
    routes = build_application(
        ask=ask,
        sealer=Sealer(pinned),
        clock=lambda: datetime.now(UTC),
        waiting_for=list,
        draining=lambda: False,
    )

    principals = {OPERATOR.actor: OPERATOR}

    async def authenticate(scope: Scope) -> Principal:
        name = (get_header(scope, b"authorization") or "").removeprefix("Bearer ")
        if name not in principals:
            raise InvalidCredential("nobody")
        return principals[name]

    app = ManagementMiddleware(
        routes,
        authenticate=authenticate,
        sign_in=no_sign_in,
        page=no_page,
        webhooks=no_page,
        waiting_for=list,
        telemetry=Telemetry("console", {}),
        upload_timeout_seconds=60,
        failures=AddressLimiter(1000),
    )
    transport = httpx.ASGITransport(app=cast(Any, app))
    async with httpx.AsyncClient(transport=transport, base_url="http://console.test", timeout=60) as client:
        yield Console(client, bus, principals)
    await bus.broker.stop()


async def make_objects(face: Console, tenant: str, made: dict[str, str]) -> dict[str, str]:
    """Give a tenant one object of each kind beside those of `made`, and return their ids by kind."""
    team, name = f"team-of-{tenant}", f"name-of-{tenant}"
    await face.add_owner(tenant)
    await face.make(tenant, "/teams", {"team": team})
    member = await face.join(tenant, f"viewer@{tenant}.example", "viewer", tenant)
    open_invitation = await face.make(tenant, "/invitations", {"email": f"open-{tenant}@example.com", "role": "viewer"})
    budget = {"scope": "tenant", "window": {"calendar": "month"}, "limit_usd": "5"}
    rule = await face.make(tenant, "/alerts/rules", _RULE)
    invoice = {"provider": "openai", "since": "2026-11-01", "until": "2026-11-02", "total_usd": "1"}
    endpoint = {"base_url": "https://llm.example.com/v1", "models": ["m"], "probe": False}
    await face.make(tenant, f"/endpoints/{name}", endpoint, "PUT")
    hook = {"name": "hook", "url": "https://hooks.example.com/keyferry", "event_types": ["key.changed"]}
    chat = example_of("POST", f"{OWN_PREFIX}/integrations")
    # Not for the tenant's own alerts, which would change what it shows.
    mail = {"name": "mail", "kind": "email", "recipients": [f"viewer@{tenant}.example"], "usual": False}
    channel = await face.make(tenant, "/notification-channels", mail)
    report = {"name": "usage", "frequency": "monthly", "channel_id": channel["channel_id"]}
    return made | {
        "team": team,
        "member": member,
        "invitation": open_invitation["invitation_id"],
        "token": (await face.make(tenant, "/client-tokens", {"label": "x"}))["token_id"],
        "budget": (await face.make(tenant, "/budgets", budget))["budget"]["budget_id"],
        "reconciliation": (await face.make(tenant, "/reconciliations", invoice))["reconciliation_id"],
        "alert_rule": rule["rule_id"],
        "alert": await face.first_alert(tenant, rule["rule_id"]),
        "endpoint": name,
        "service": name,
        "webhook": (await face.make(tenant, "/webhooks", hook))["endpoint_id"],
        "channel": channel["channel_id"],
        "secret": (await face.make(tenant, "/integrations", chat))["secret_id"],
        "report": (await face.make(tenant, "/reports", report))["report_id"],
    }


async def make_service(face: Console, system: KeyferrySystem) -> None:
    """Give the other tenant an internal service, and wait until the server has read its users again.

    A reply that is under way at that moment is lost.
    """

    async def reloaded() -> bool:
        log = (system.home / "log" / "nats.log").read_text()
        return log.count(_RELOADED) > before

    before = (system.home / "log" / "nats.log").read_text().count(_RELOADED)
    service = example_of("POST", f"{OWN_PREFIX}/internal-services")
    await face.make(THERE, "/internal-services", {**service, "name": f"name-of-{THERE}"})
    await eventually_async("the server has read its users again", reloaded)


def absent(identifier: str) -> str:
    """Return an id of the same form that does not exist."""
    prefix, mark, _ = identifier.partition("_")
    return f"{ids.new(prefix)}" if mark else f"{identifier[:-1]}{'x' if identifier[-1] != 'x' else 'y'}"


def kind_of(name: str, noun: str) -> str:
    """Return the kind of object that a parameter stands for. Raises KeyError for a name that is not listed here."""
    return NAMED[noun] if name == "name" else ID_NAMES[name]


_READING_POSTS = ("/routing/explain", "/preferences/preview", "/estimates")
"""Routes that take a body and change nothing."""
_DRAWN = "/routing/explain"
"""Its answer is planned for an id of its own, from which weights and delays are drawn: order and numbers differ."""


def seen(answer: httpx.Response, identifier: str, path: str = "") -> tuple[int, dict[str, str], str]:
    """Return what an answer reveals: status, headers and body, without the id that was asked for and new ids and times."""
    headers = {name: text for name, text in answer.headers.items() if name not in _CHANGING}
    text = _NEW_IDS.sub("NEW", answer.text.replace(identifier, "ASKED"))
    if path.endswith(_DRAWN):
        text = re.sub(r"\b(?:[a-z]+_)?[0-9a-z]{16,}\b", "", text)
        text = " ".join(sorted(set(re.findall(r"[A-Za-z_]+", text))))
    return answer.status_code, headers, _DURATIONS.sub("in N ms", _MOMENTS.sub("WHEN", text))


@dataclass(frozen=True)
class Question:
    """A request with one place for an id."""

    kind: str
    method: str
    path: str
    query: str = ""
    """The parameter of the query that takes it, unless it is in the path or the body."""
    field: str = ""
    body: Mapping[str, object] | None = None
    in_list: bool = False

    @property
    def reads(self) -> bool:
        """Whether it changes nothing."""
        command = self.path.rpartition("/")[2]
        if self.path.endswith(_READING_POSTS):
            return True
        return self.method == "GET" or (command in COMMANDS and not COMMANDS[command].changes)

    async def ask(self, face: Console, identifier: str) -> httpx.Response:
        """Ask as the owner of the one tenant."""
        body = None if self.body is None else dict(self.body)
        if body is not None and self.field:
            body[self.field] = [identifier] if self.in_list else identifier
        if body is not None and self.path.endswith("/token.create"):
            body["digest"] = secrets.token_hex(32)
        query = {self.query: identifier} if self.query else {}
        return await face.ask(HERE, self.method, self.path.replace("ASKED", identifier), body, **query)


def questions() -> Iterator[Question]:
    """Yield a question for each place of each route and command that takes an id."""
    document = openapi_document()
    for method, route in ROUTES:
        if route.startswith(f"{INSTALLATION_PREFIX}/") or route == COMMANDS_PATH or (method, route) in SELF_ROUTES:
            continue
        noun, body = route.removeprefix(OWN_PREFIX).split("/")[1], example_of(method, route)
        if noun == "endpoints" and body is not None:
            body = {**body, "probe": False}
        path = route.replace("{provider}", "openai")
        in_path = [each for each in re.findall(r"\{([a-z_]+)\}", path) if each not in ("month", "purchase")]
        filled = re.sub(r"\{[a-z_]+\}", "ASKED", path)
        yield from (Question(kind_of(name, noun), method, filled, body=body) for name in in_path)
        if in_path:
            continue
        for parameter in document["paths"][route][method.lower()].get("parameters", ()):
            if parameter["name"] in ID_NAMES:
                yield Question(ID_NAMES[parameter["name"]], method, path, query=parameter["name"], body=body)
        for name, is_list in _id_fields(method, route):
            given = ROUTE_BODIES.get((route.removeprefix(OWN_PREFIX), name), body)
            yield Question(ID_NAMES[name], method, path, field=name, body=given, in_list=is_list)
    for name in AVAILABLE:
        yield from _questions_by_command(name)


def _id_fields(method: str, path: str) -> Iterator[tuple[str, bool]]:
    document = openapi_document()
    operation = document["paths"][path][method.lower()]
    if "requestBody" not in operation:
        return
    reference = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    properties = document["components"]["schemas"][reference.rpartition("/")[2]]["properties"]
    for name, described in properties.items():
        if name in ID_NAMES and not (path.endswith("/teams") and name == "team") and name != "key":
            yield name, '"array"' in json.dumps(described)


def _questions_by_command(name: str) -> Iterator[Question]:
    if not may_send(AccessRole.OWNER, name):
        return
    noun, fields = name.partition(".")[0], BY_NAME[name].message.model_fields
    path, body = COMMANDS_PATH.replace("{subject}", name), COMMAND_BODIES.get(name, {})
    for each, described in fields.items():
        is_name = each == "name" and noun in NAMED and name not in MAKES
        if is_name or (each in ID_NAMES and not (name == "team.create" and each == "team")):
            is_list = "list[" in str(described.annotation).lower()
            yield Question(kind_of(each, noun), "POST", path, field=each, body=body, in_list=is_list)


def test_every_parameter_of_a_path_stands_for_a_known_kind_of_object() -> None:
    names = {name for _, path in {*ROUTES} - {*SELF_ROUTES} for name in re.findall(r"\{([a-z_]+)\}", path)}
    assert names - {"tenant", "number"} <= ID_NAMES.keys() | NO_OBJECTS
    asked = list(questions())
    assert {question.kind for question in asked} == {*ID_NAMES.values(), "service"}
    assert len(asked) > 100


def test_objects_of_another_tenant_do_not_exist(keyed_system: KeyedSystem) -> None:
    accounts = {tenant: keyed_system.new_tenant(tenant) for tenant in (HERE, THERE)}
    made = {tenant: _used(keyed_system, account) for tenant, account in accounts.items()}
    asyncio.run(_compare(keyed_system, made))


def _used(system: KeyedSystem, account: TenantAccount) -> dict[str, str]:
    """Give a tenant a key and a request that is recorded."""
    key = system.add(account.tenant, system.provider.issue())["key_id"]
    answer = account.wait_for_status(200)
    request_id = answer.headers["x-request-id"]
    account.attempts(request_id)
    # The ledger adds it up for the vault a little later, which would look like a change of the tenant.
    until("the vault knows what the key has cost", lambda: system.key(account.tenant, key)["spent_usd"] is not None)
    return {"key": key, "request": request_id}


async def _compare(system: KeyedSystem, made: dict[str, dict[str, str]]) -> None:
    async with console(system.system) as face:
        objects = {tenant: await make_objects(face, tenant, made[tenant]) for tenant in (HERE, THERE)}
        await make_service(face, system.system)
        before = await _readings(face)
        # One for each kind: what a question leaves behind in the caller's own tenant is then the same for both.
        unknown_ids = {kind: absent(identifier) for kind, identifier in objects[THERE].items()}
        differences = []
        for question in questions():
            foreign, unknown = objects[THERE][question.kind], unknown_ids[question.kind]
            differing = await _difference(face, question, foreign, unknown)
            if differing and question.reads:
                # Routers follow what the caller's own tenant has just changed a little later: ask until that has settled.
                async def settled(question: Question = question, pair: tuple[str, str] = (foreign, unknown)) -> bool:
                    return not await _difference(face, question, *pair)

                try:
                    await eventually_async("the answers are the same", settled)
                except AssertionError:
                    differences.append(differing)
            elif differing:
                differences.append(differing)
        assert not differences, "\n".join(map(str, differences))
        await _other_tenants_are_unknown(face)
        assert await _readings(face) == before, "the other tenant has changed"
        await _nothing_was_recorded(face)


async def _difference(face: Console, question: Question, foreign: str, unknown: str) -> str:
    """Return how the answers about the two ids differ, or an empty text."""
    of_foreign = seen(await question.ask(face, foreign), foreign, question.path)
    of_unknown = seen(await question.ask(face, unknown), unknown, question.path)
    assert of_unknown[0] < 500, (question, of_unknown)
    return "" if of_foreign == of_unknown else f"{question}:\n  {of_foreign}\n  {of_unknown}"


async def _other_tenants_are_unknown(face: Console) -> None:
    for name in AVAILABLE:
        if "tenant" in BY_NAME[name].message.model_fields:
            path = COMMANDS_PATH.replace("{subject}", name)
            of_foreign, of_unknown = [await face.ask(HERE, "POST", path, {"tenant": one}) for one in (THERE, NOWHERE)]
            assert of_foreign.status_code in (403, 404)
            assert seen(of_foreign, THERE) == seen(of_unknown, NOWHERE), name
    for method, path in ROUTES:
        if "{tenant}" in path:
            filled = re.sub(r"\{(?!tenant)[a-z_]+\}", "x", path)
            of_foreign, of_unknown = [
                await face.ask(HERE, method, filled.replace("{tenant}", one)) for one in (THERE, NOWHERE)
            ]
            assert seen(of_foreign, THERE) == seen(of_unknown, NOWHERE), (method, path)


async def _readings(face: Console) -> dict[str, str]:
    """Return all that the owner of the other tenant can read of it, by route, without what changes by itself."""
    found = {}
    for method, path in ROUTES:
        below = path.removeprefix(OWN_PREFIX)
        if (method, path) in SELF_ROUTES or below == "/events":  # which does not end, and has tests of its own
            continue
        if method == "GET" and "{" not in path and not below.startswith(("/ops/", *_SETTLING)):
            answer = await face.ask(THERE, method, path)
            assert answer.status_code < 500, (path, answer.text)
            text = _LAST_USE.sub("", answer.text.replace(answer.headers["x-request-id"], "ID"))
            found[path] = _MOMENTS.sub("WHEN", text)
    assert len(found) > 10
    return found


async def _nothing_was_recorded(face: Console) -> None:
    """Make a change in the other tenant, and wait for it in the audit log: what it follows is older than the comparison."""

    async def events() -> list[tuple[str, str, str]]:
        page = (await face.ask(THERE, "GET", f"{OWN_PREFIX}/audit", limit="200")).json()["data"]
        return [(entry["event"]["action"], entry["event"]["actor"], entry["event"]["target"]) for entry in page]

    last = await face.make(THERE, "/client-tokens", {"label": "last"})

    async def recorded() -> bool:
        return any(target == last["token_id"] for _, _, target in await events())

    await eventually_async("the last change is recorded", recorded)
    actors = {actor for _, actor, _ in await events()}
    assert face.principals[THERE].actor in actors
    assert face.principals[HERE].actor not in actors
