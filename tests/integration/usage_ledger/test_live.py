"""What a real ledger publishes to pages that are open, and when: after a commit, each request as the log has it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from nats.aio.msg import Msg

from keyferry.contracts.credit_management import GetCredits, GrantCredits
from keyferry.contracts.failure import Failure, FailureClass, Where
from keyferry.contracts.ledger_management import CREDIT_GET, CREDIT_GRANT, REQUEST_LIST
from keyferry.contracts.live_events import CreditAmounts, DeadLetterCount, RequestsRecorded
from keyferry.contracts.request_log import ListRequests
from keyferry.contracts.tenancy import Tenant, Tier
from keyferry.contracts.topology import TENANTS_VIEW, Role
from keyferry.contracts.usage import Outcome
from keyferry.runtime.views import ViewWriter
from tests.integration.usage_ledger.processes import LedgerServers
from tests.support.ledger.attempt_records import attempt_record, decision_record
from tests.support.waiting import eventually

FAILURE = Failure(failure_class=FailureClass.OVERLOADED, where=Where.HTTP_STATUS, message="it failed")


class Published:
    """What was published, as the console gets it."""

    def __init__(self) -> None:
        self.requests: list[RequestsRecorded] = []
        self.credits: list[CreditAmounts] = []
        self.letters: list[int] = []
        self.numbers: list[int] = []

    async def note(self, message: Msg) -> None:
        self.numbers.append(int((message.headers or {})["Nats-Sequence"]))
        kind = message.subject.split(".")[3]
        if kind == "request":
            self.requests.append(RequestsRecorded.decode(message.data))
        elif kind == "credits":
            self.credits.append(CreditAmounts.decode(message.data))
        elif kind == "dead_letter":
            self.letters.append(DeadLetterCount.decode(message.data).count)

    def rows(self, tenant: str) -> dict[str, bytes]:
        """Return the last row of each request."""
        return {
            row.request.request_id: row.request.encode()
            for message in self.requests
            if message.tenant == tenant
            for row in message.requests
        }


@asynccontextmanager
async def published(servers: LedgerServers) -> AsyncIterator[Published]:
    """Subscribe as a console does."""
    found = Published()
    async with servers.installation.client(Role.CONSOLE) as client:
        await client.subscribe("kflive.>", cb=found.note)
        await client.flush()
        yield found


async def test_committed_requests_are_published_as_the_log_shows_them(servers: LedgerServers) -> None:
    failed = attempt_record(outcome=Outcome.FAILED, failure=FAILURE)
    retried = attempt_record(request_id=failed.request_id, attempt_number=2)
    records = [attempt_record(), failed, attempt_record(tenant="globex", stream=False)]
    refusal = decision_record(refusal=FAILURE)
    async with servers.in_process(), servers.operator() as operator, published(servers) as live:
        async with servers.worker() as worker:
            await worker.publish([record.encode() for record in records])
            await worker.until_confirmed(records)
            await worker.publish([retried.encode(), records[0].encode()])
            await worker.until_confirmed([retried])
        await servers.decide([refusal.encode(), decision_record().encode()])
        wanted = {records[0].request_id, failed.request_id, refusal.request_id}
        await eventually("all are published", lambda: wanted <= live.rows("acme").keys() and live.rows("globex"))
        for tenant in ("acme", "globex"):
            page = await operator.ask(REQUEST_LIST, ListRequests(tenant=tenant), timeout_seconds=10)
            assert live.rows(tenant) == {row.request_id: row.encode() for row in page.requests}
    sent = [row.request.request_id for message in live.requests for row in message.requests]
    assert sent.count(records[0].request_id) == 1, "what is recorded already is not published again"
    assert live.numbers == list(range(live.numbers[0], live.numbers[0] + len(live.numbers)))


async def test_credits_are_published_after_a_change(servers: LedgerServers) -> None:
    async with servers.installation.client(Role.TENANT_DIRECTORY) as directory:
        tenants = {name: Tenant(tenant=name, name=name, tier=Tier.FREE).encode() for name in ("acme", "globex")}
        await ViewWriter(directory, TENANTS_VIEW).reconcile(tenants)
    async with servers.in_process(), servers.operator() as operator, published(servers) as live:
        for number in ("1", "2"):
            command = GrantCredits(tenant="acme", credits="5.5", idempotency_key=number, reason="test")
            await operator.ask(CREDIT_GRANT, command, timeout_seconds=10)
        await eventually("the last change is published", lambda: live.credits and live.credits[-1].balance == 11)
        balance = await operator.ask(CREDIT_GET, GetCredits(tenant="acme"), timeout_seconds=10)
        last = live.credits[-1]
        for name in ("tenant", "balance", "available", "held", "balance_usd", "state"):
            assert getattr(last, name) == getattr(balance, name), name


async def test_the_number_of_dead_letters_is_published(servers: LedgerServers) -> None:
    async with servers.in_process(), published(servers) as live, servers.worker() as worker:
        await worker.publish([b"{}", b"[]"])
        await eventually("both are counted", lambda: live.letters[-1:] == [2])


async def test_nothing_waits_for_what_is_published(servers: LedgerServers) -> None:
    """Without a stream LIVE, as before an upgrade of the bus, everything else goes on."""
    async with servers.installation.client(Role.PROVISIONER) as provisioner:
        await provisioner.jetstream().delete_stream("LIVE")
    records = [attempt_record() for _ in range(10)]
    async with servers.in_process(), servers.worker() as worker:
        await worker.publish([record.encode() for record in records])
        await worker.until_confirmed(records)
        await asyncio.sleep(0)
    assert len(servers.recorded()) == 10
