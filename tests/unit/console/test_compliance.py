"""The compliance report over HTTP, and as people read it."""

from datetime import UTC, datetime, timedelta

from keyferry.cli.tenant_compliance import describe_report
from keyferry.contracts.access_role import AccessRole
from keyferry.contracts.audit import AuditOutcome
from keyferry.contracts.compliance import (
    AuditedActivity,
    ComplianceReport,
    DataDestination,
    GetComplianceReport,
    KeyActivity,
    RecordedChange,
)
from keyferry.contracts.compliance_management import COMPLIANCE_GET
from keyferry.contracts.key import ProviderKeys
from keyferry.contracts.tenancy import ContentPolicy, Tenant, Tier
from keyferry.contracts.topology import KEY_LIST, TENANT_GET
from keyferry.contracts.usage import KeySource
from tests.unit.console.people import ROLES, person
from tests.unit.console.surface import Surface, error, stored

SINCE, UNTIL = datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)
SPAN = {"count": 2, "first_at": SINCE, "last_at": UNTIL}
KEY = stored().model_copy(update={"provider": "bedrock", "fields": {"region": "eu-central-1"}})
REPORT = ComplianceReport(
    tenant="acme",
    since=SINCE,
    until=UNTIL,
    content=ContentPolicy.REDACTED,
    content_days=7,
    attempts_kept_days=400,
    activities=[
        AuditedActivity(
            actor="console:operator", action="operator.access", resource="export", outcome=AuditOutcome.DONE, **SPAN
        )
    ],
    destinations=[
        DataDestination(
            provider="bedrock",
            key_source=KeySource.BYOK,
            key_id=KEY.key_id,
            attempts=3,
            first_at=SINCE,
            last_at=UNTIL,
        ),
        DataDestination(
            provider="openai", key_source=KeySource.BYOK, key_id="key_gone", attempts=1, first_at=SINCE, last_at=UNTIL
        ),
    ],
    keys=[KeyActivity(key_id=KEY.key_id, action="key.lease", outcome=AuditOutcome.DONE, **SPAN)],
    policy_changes=[
        RecordedChange(
            at=SINCE,
            actor="member:ann",
            action="tenant.update",
            target="acme",
            outcome=AuditOutcome.DONE,
            details={"content": "off → redacted"},
        )
    ],
    deletions=[],
    shortened=["deletions"],
)


def surface(role: AccessRole) -> Surface:
    found = Surface(principal=person(role))
    found.bus.answers(TENANT_GET, Tenant(tenant="acme", name="Acme", tier=Tier.FREE))
    found.bus.answers(COMPLIANCE_GET, REPORT)
    found.bus.answers(KEY_LIST, ProviderKeys(keys=[KEY]))
    return found


async def test_admins_and_owners_get_it_and_operators_for_any_tenant_and_nobody_else() -> None:
    for role in ROLES:
        mine = surface(role)
        path = "/api/v1/ops/tenants/acme" if role is AccessRole.OPERATOR else "/api/v1"
        query = "since=2026-11-01T00:00:00Z&until=2026-12-01T00:00:00Z"
        answer = await mine.ask("GET", f"{path}/compliance?{query}")
        asked = [question for name, question in mine.bus.asked if name == COMPLIANCE_GET.name]
        if role not in (AccessRole.OWNER, AccessRole.ADMIN, AccessRole.OPERATOR):
            assert error(answer)[:2] == (403, "not_allowed"), role
            command = await mine.ask(
                "POST",
                "/api/v1/commands/compliance.get",
                {"since": SINCE.isoformat(), "until": UNTIL.isoformat()},
            )
            assert (error(command)[:2], asked) == ((403, "not_allowed"), [])
            continue
        assert answer.status_code == 200, answer.text
        assert asked == [GetComplianceReport(tenant="acme", since=SINCE, until=UNTIL)]
        regions = [each["region"] for each in answer.json()["destinations"]]
        assert regions == ["eu-central-1", None], "of a key that is gone, no region is known"


async def test_it_is_of_the_last_thirty_days_if_no_span_is_given() -> None:
    mine = surface(AccessRole.OWNER)
    before = datetime.now(UTC)
    assert (await mine.ask("GET", "/api/v1/compliance")).status_code == 200
    (asked,) = [each for _, each in mine.bus.asked if isinstance(each, GetComplianceReport)]
    assert asked.until - asked.since == timedelta(days=30)
    assert before <= asked.until <= datetime.now(UTC)
    for query in ("since=1", "until=yesterday", "since=%00", "later=2"):
        assert (await mine.ask("GET", f"/api/v1/compliance?{query}")).status_code in (400, 422), query
    assert len([each for _, each in mine.bus.asked if isinstance(each, GetComplianceReport)]) == 1


def test_people_read_every_part() -> None:
    text = describe_report(REPORT)
    for line in (
        "compliance report of acme: 2026-11-01 00:00:00Z to 2026-12-01 00:00:00Z",
        "prompts and answers: stored, encrypted, without what has the form of a credential or of a person's data, for 7 days",
        "records of attempts: 400 days at least; of decisions: for ever",
        "DELETIONS (there is more than is shown: choose a shorter span)",
    ):
        assert line in text.splitlines()
    for words in ("operator.access", "bedrock", "the provider's own", "key.lease", "content: off → redacted", "none"):
        assert words in text
