"""Providers, models and the audit log over HTTP."""

import re

import pytest

from keyferry.contracts.access_role import AccessRole
from keyferry.contracts.audit import (
    AuditEntries,
    AuditEntry,
    AuditEvent,
    AuditOutcome,
    AuditVerification,
    ListAudit,
    VerifyAudit,
)
from keyferry.contracts.catalog import Capability, ModelClass, ModelSort
from keyferry.contracts.envelope import Message
from keyferry.contracts.membership import ListMembers, Member, Members, MemberSource
from keyferry.contracts.membership_management import MEMBER_LIST
from keyferry.contracts.providers import PROVIDERS
from keyferry.contracts.route import Endpoint, Endpoints, ListModels, Model, Models
from keyferry.contracts.service import ErrorCode, Refusal, ServiceReport
from keyferry.contracts.tenancy import Tier
from keyferry.contracts.topology import AUDIT_LIST, AUDIT_VERIFY, ENDPOINT_LIST, MODEL_LIST
from keyferry.contracts.usage import KeySource
from tests.unit.console.people import person
from tests.unit.console.surface import NOW, Surface, error, stored

BOTH = pytest.mark.parametrize(("base", "tenant"), [("/api/v1", "platform"), ("/api/v1/ops/tenants/acme", "acme")])


async def test_providers_are_listed_with_their_required_fields() -> None:
    surface = Surface()
    paginate = (await surface.ask("GET", "/api/v1/providers")).json()
    assert [row["name"] for row in paginate["data"]] == list(PROVIDERS)
    assert paginate["next"] is None
    rows = {row["name"]: row for row in paginate["data"]}
    assert rows["openai"]["key_prefixes"] == ["sk-", "sk-proj-", "sk-svcacct-", "sk-admin-"]
    assert rows["openai"]["key_url"] == "https://platform.openai.com/api-keys"
    assert rows["openai"]["docs_url"].startswith("https://")
    assert (rows["custom"]["key_url"], rows["custom"]["key_optional"]) == (None, True)
    (region,) = rows["bedrock"]["fields"]
    assert (region["name"], region["required"]) == ("region", True)
    assert re.fullmatch(region["pattern"], region["example"])
    assert rows["openai"]["health"] is None, "no health monitor answers"
    first = (await surface.ask("GET", "/api/v1/providers?limit=2")).json()
    second = (await surface.ask("GET", f"/api/v1/providers?limit=1000&after={first['next']}")).json()
    assert [row["name"] for row in first["data"] + second["data"]] == list(PROVIDERS)


def model(name: str) -> Model:
    return Model(id=name, provider="openai", key_source=KeySource.BYOK)


@BOTH
async def test_model_filters_are_sent_to_the_router(base: str, tenant: str) -> None:
    surface = Surface()
    surface.bus.answers(MODEL_LIST, Models(models=[model("a"), model("b"), model("c")]))
    query = (
        "?filter=eu,recommended:chat,provider:openai&tier=free&class=budget&capability=tools&available=all&approved=all"
        "&sort=context&limit=2"
    )
    paginate = (await surface.ask("GET", f"{base}/models{query}")).json()
    assert ([row["id"] for row in paginate["data"]], paginate["next"]) == (["a", "b"], "b")
    rest = (await surface.ask("GET", f"{base}/models?after=b")).json()
    assert ([row["id"] for row in rest["data"]], rest["next"]) == (["c"], None)
    assert [request for _, request in surface.bus.asked] == [
        ListModels(
            tenant=tenant,
            eu=True,
            recommended="chat",
            provider="openai",
            tier=Tier.FREE,
            model_class=ModelClass.BUDGET,
            capability=Capability.TOOLS,
            unavailable=True,
            unapproved=True,
            sort=ModelSort.CONTEXT,
        ),
        ListModels(tenant=tenant),
    ]


@pytest.mark.parametrize(
    ("query", "status", "param"),
    [
        ("filter=cheap", 400, "filter"),
        ("filter=eu:1", 400, "filter"),
        ("filter=provider", 400, "filter"),
        ("tier=gold", 422, "tier"),
        ("class=huge", 422, "class"),
        ("available=false", 422, "available"),
        ("sort=price", 422, "sort"),
        ("model_class=budget", 400, "model_class"),
        ("tenant=globex", 400, "tenant"),
    ],
)
async def test_invalid_model_filter_is_rejected(query: str, status: int, param: str) -> None:
    surface = Surface()
    response = await surface.ask("GET", f"/api/v1/models?{query}")
    assert (error(response)[0], error(response)[2]) == (status, param)
    assert surface.bus.asked == []


async def test_an_unknown_provider_is_no_empty_list() -> None:
    surface = Surface()
    surface.bus.answers(MODEL_LIST, Models(models=[]))
    surface.bus.answers(
        ENDPOINT_LIST,
        Endpoints(endpoints=[Endpoint(tenant="platform", name="lab", base_url="https://lab.example", models=[])]),
    )
    surface.store(stored(provider="custom", name="gpu"))
    response = await surface.ask("GET", "/api/v1/models?filter=eu,provider:nosuch")
    assert error(response) == (422, "invalid_value", "filter")
    assert response.json()["error"]["message"].endswith("custom, lab, gpu")
    for name in ("echo", "openai", "lab", "gpu"):
        assert (await surface.ask("GET", f"/api/v1/models?filter=provider:{name}")).json() == {"data": [], "next": None}


def entry(position: int, actor: str = "console:operator") -> AuditEntry:
    event = AuditEvent(
        event_id=f"aud_{position}",
        service="key-vault",
        sequence=position,
        tenant="acme",
        actor=actor,
        action="key.add",
        target="key_0001",
        outcome=AuditOutcome.DONE,
        at=NOW,
    )
    return AuditEntry(position=position, event=event, previous="0", digest="1", recorded_at=NOW)


@BOTH
async def test_audit_log_is_paged_backwards(base: str, tenant: str) -> None:
    def owner(request: Message) -> AuditEntries:
        assert isinstance(request, ListAudit)
        newest = 5 if request.before is None else request.before - 1
        return AuditEntries(entries=[entry(at) for at in range(newest, max(newest - request.limit, 0), -1)])

    surface = Surface()
    surface.bus.answers(AUDIT_LIST, owner)
    seen: list[int] = []
    after = ""
    while True:
        paginate = (await surface.ask("GET", f"{base}/audit?limit=2{after}")).json()
        seen += [row["position"] for row in paginate["data"]]
        if paginate["next"] is None:
            break
        after = f"&after={paginate['next']}"
    assert seen == [5, 4, 3, 2, 1]
    assert {request.tenant for _, request in surface.bus.asked if isinstance(request, ListAudit)} == {tenant}
    assert len(surface.bus.asked) == 3
    for wrong in ("0", "-1", "x", "9" * 30):
        assert error(await surface.ask("GET", f"{base}/audit?after={wrong}"))[0] == 422


async def test_the_audit_log_names_people_operators_programs_and_services() -> None:
    surface = Surface()
    actors = ("usr_1", "usr_2", "usr_9", "console:operator", "operator", "program:ci", "vault", "worker-1")
    entries = [entry(at, actor) for at, actor in enumerate(actors, 2)]
    surface.bus.answers(AUDIT_LIST, AuditEntries(entries=entries))
    members = [
        member_of("usr_1", name="Ann", email="ann@example.com"),
        member_of("usr_2", email="bob@example.com"),
        member_of(None, name="Invited"),
    ]
    surface.bus.answers(MEMBER_LIST, Members(members=members))
    data = (await surface.ask("GET", "/api/v1/ops/tenants/acme/audit")).json()["data"]
    assert [(each["event"]["actor"], each["actor_kind"], each["actor_name"]) for each in data] == [
        ("usr_1", "person", "Ann"),
        ("usr_2", "person", "bob@example.com"),
        ("usr_9", "person", None),
        ("console:operator", "operator", None),
        ("operator", "operator", None),
        ("program:ci", "program", None),
        ("vault", "service", None),
        ("worker-1", "service", None),
    ]
    assert ("member.list", ListMembers(tenant="acme")) in surface.bus.asked
    surface.bus.answers(MEMBER_LIST, Refusal(code=ErrorCode.UNAVAILABLE, message="its database is away"))
    data = (await surface.ask("GET", "/api/v1/ops/tenants/acme/audit")).json()["data"]
    assert {each["actor_name"] for each in data} == {None}, "the log is shown without names"
    surface.bus.asked.clear()
    surface.bus.answers(AUDIT_LIST, AuditEntries(entries=entries[3:]))
    await surface.ask("GET", "/api/v1/ops/tenants/acme/audit")
    assert "member.list" not in [name for name, _ in surface.bus.asked], "nobody has to be named"


def member_of(user_id: str | None, **values: str) -> Member:
    return Member(
        tenant="acme",
        member_id=f"mem_{len(values)}{user_id is None:d}",
        user_id=user_id,
        role=AccessRole.ADMIN,
        source=MemberSource.INVITATION,
        created_at=NOW,
        **values,
    )


async def test_operators_see_every_process_that_answers() -> None:
    def report(service: str, slot: int) -> ServiceReport:
        return ServiceReport(
            service=service,
            slot=slot,
            pid=7,
            instance_id=f"inst_{service}{slot}",
            version="1.2.3",
            ready=True,
            waiting_for=[],
            facts={"tenants": "3"},
        )

    surface = Surface(reports=[report("router", 2), report("console", 1), report("router", 1)])
    found = (await surface.ask("GET", "/api/v1/ops/services")).json()["data"]
    assert [(each["service"], each["slot"]) for each in found] == [("console", 1), ("router", 1), ("router", 2)]
    assert (found[0]["version"], found[0]["ready"], found[0]["facts"]) == ("1.2.3", True, {"tenants": "3"})
    member = Surface(principal=person(AccessRole.OWNER))
    assert error(await member.ask("GET", "/api/v1/ops/services"))[0] == 403


@BOTH
async def test_only_the_tenants_own_chain_is_verified(base: str, tenant: str) -> None:
    surface = Surface()
    surface.bus.answers(AUDIT_VERIFY, AuditVerification(tenants=1, entries=5, faults=["acme: position 3 was edited"]))
    report = (await surface.ask("GET", f"{base}/audit/verify")).json()
    assert report["faults"] == ["acme: position 3 was edited"]
    assert (report["tenants"], report["entries"], report["continued"]) == (1, 5, 0)
    assert surface.bus.asked == [("audit.verify", VerifyAudit(tenant=tenant, incremental=True))]


@BOTH
async def test_the_audit_log_is_filtered_and_exported_page_by_page(base: str, tenant: str) -> None:
    def owner(request: Message) -> AuditEntries:
        assert isinstance(request, ListAudit)
        newest = 501 if request.before is None else request.before - 1
        return AuditEntries(entries=[entry(at) for at in range(newest, max(newest - request.limit, 0), -1)])

    surface = Surface()
    surface.bus.answers(AUDIT_LIST, owner)
    query = "actor=ann&action=key&target=key_0001&since=2026-11-01&until=2026-12-01T00:00:00Z"
    response = await surface.ask("GET", f"{base}/audit/export?{query}")
    assert response.headers["content-disposition"] == f'attachment; filename="audit-{tenant}.csv"'
    lines = response.text.splitlines()
    assert (lines[0].split(",")[0], lines[1].split(",")[0], lines[-1].split(",")[0], len(lines)) == (
        *("position", "501", "1"),
        502,
    )
    asked = [request for _, request in surface.bus.asked if isinstance(request, ListAudit)]
    assert {(one.tenant, one.actor, one.action, one.target) for one in asked} == {(tenant, "ann", "key", "key_0001")}
    assert [one.before for one in asked] == [None, 2]
    assert {(one.since is not None, one.until is not None) for one in asked} == {(True, True)}
    exported = await surface.ask("GET", f"{base}/audit/export?format=jsonl")
    assert (len(exported.text.splitlines()), exported.text.splitlines()[-1]) == (502, '{"end": true, "entries": 501}')
    for wrong in (
        "actor=a%00b",
        "action=KEY",
        "target=%ED%A0%80",
        "since=yesterday",
        "format=xml",
        "actor=" + "a" * 201,
    ):
        assert error(await surface.ask("GET", f"{base}/audit/export?{wrong}"))[0] in (400, 422)
