"""Ratings: only of what a tenant was answered, once per request and rater, and their sums in the view."""

import asyncio
from contextlib import suppress
from typing import Any

import pytest

from keyferry.contracts.feedback import MAX_RATERS, Feedback, ListFeedback, RatedModel, SaveFeedback, TenantRatings
from keyferry.contracts.routing_management import FEEDBACK_LIST, FEEDBACK_SAVE, RATINGS_VIEW
from keyferry.contracts.service import ErrorCode
from keyferry.contracts.topology import Role
from keyferry.contracts.usage import AttemptRecord, Outcome
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.bus.requests import Refused
from keyferry.runtime.views import COMPLETE, SnapshotFailed, snapshot
from tests.integration.usage_ledger.processes import LedgerServers
from tests.support.ledger.attempt_records import attempt_record
from tests.support.waiting import eventually_async


async def rate(bus: Bus, request_id: str, rating: Any, *, tenant: str = "acme", **fields: Any) -> Feedback:
    command = SaveFeedback(tenant=tenant, request_id=request_id, rating=rating, **fields)
    return await bus.ask(FEEDBACK_SAVE, command, timeout_seconds=10)


async def record(servers: LedgerServers, records: list[AttemptRecord]) -> None:
    async with servers.worker() as worker:
        await worker.publish([each.encode() for each in records])
        await worker.until_confirmed(records)


async def published(servers: LedgerServers) -> dict[str, TenantRatings]:
    """Return the view's entries as a router reads them."""
    async with servers.installation.client(Role.ROUTER) as client:
        entries, _ = await snapshot(client, RATINGS_VIEW)
    return {tenant: TenantRatings.decode(value) for tenant, value in entries.items() if tenant != COMPLETE}


async def test_ratings_are_checked_kept_once_and_published(servers: LedgerServers) -> None:
    failed = attempt_record(request_id="req_1", provider="groq", model="other", outcome=Outcome.FAILED)
    answered = attempt_record(
        request_id="req_1", attempt_number=2, provider="openai", model="gpt-4o", operation="research"
    )
    nothing = attempt_record(request_id="req_2", outcome=Outcome.FAILED)
    plain = attempt_record(request_id="req_3", provider="openai", model="gpt-4o")
    async with servers.in_process(), servers.operator() as operator:
        await record(servers, [failed, answered, nothing, plain])

        first = await rate(operator, "req_1", "down", comment="wrong\nfigures", rater="ann")
        assert (first.provider, first.model, first.operation) == ("openai", "gpt-4o", "research")
        assert (first.rating, first.comment, first.replaced) == (1, "wrong figures", False)
        again = await rate(operator, "req_1", 4, rater="ann", operation="chat")
        assert again.operation == "research", "the request has said what it is for"
        assert (again.rating, again.comment, again.replaced) == (4, None, True)
        await asyncio.gather(*(rate(operator, "req_3", 5, rater=f"rater-{number}") for number in range(5)))
        other = await rate(operator, "req_3", 2, rater="ben", operation="research")
        assert other.operation == "research"

        sums = TenantRatings(
            tenant="acme",
            models=[
                RatedModel(provider="openai", model="gpt-4o", ratings=5, stars=25),
                RatedModel(provider="openai", model="gpt-4o", operation="research", ratings=2, stars=6),
            ],
        )
        assert await operator.ask(FEEDBACK_LIST, ListFeedback(tenant="acme"), timeout_seconds=10) == sums

        async def is_published() -> bool:
            with suppress(SnapshotFailed):
                return await published(servers) == {"acme": sums}
            return False

        await eventually_async("the sums are published", is_published)

        for request_id, tenant, code in (
            ("req_1", "other", ErrorCode.NOT_FOUND),
            ("req_none", "acme", ErrorCode.NOT_FOUND),
            ("req_2", "acme", ErrorCode.CONFLICT),
        ):
            with pytest.raises(Refused) as raised:
                await rate(operator, request_id, 5, tenant=tenant)
            assert raised.value.refusal.code is code

        for number in range(MAX_RATERS - 6):
            await rate(operator, "req_3", 1, rater=f"invented-{number}")
        with pytest.raises(Refused, match=f"has {MAX_RATERS} ratings, the most there may be") as raised:
            await rate(operator, "req_3", 1, rater="one-more")
        assert raised.value.refusal.code is ErrorCode.CONFLICT
        assert (await rate(operator, "req_3", 5, rater="ben")).replaced
