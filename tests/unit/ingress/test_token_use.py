"""Which client tokens were used: one report for many requests, and nothing lost while the bus is away."""

from datetime import timedelta

from nats.errors import ConnectionClosedError

from keyferry.contracts.client_token_use import MAX_REPORTED_USES, ClientTokensUsed
from services.ingress.token_use import TokenUses
from tests.support.waiting import eventually
from tests.unit.ingress.test_identity import NOW, TOKEN


async def test_many_requests_of_a_token_are_one_entry_with_the_last_time() -> None:
    sent: list[ClientTokensUsed] = []

    async def publish(report: ClientTokensUsed) -> None:
        sent.append(report)

    uses = TokenUses(publish, 0.01)
    for second in range(500):
        uses.note(TOKEN, NOW + timedelta(seconds=second))
    await uses.start()
    await eventually("it is reported", lambda: sent)
    await uses.stop()
    await uses.report()
    ((use,),) = (report.uses for report in sent)
    assert (use.tenant, use.token_id, use.used_at) == ("acme", "tok_1", NOW + timedelta(seconds=499))


async def test_an_idle_ingress_reports_nothing_and_a_busy_one_in_parts() -> None:
    sizes: list[int] = []

    async def publish(report: ClientTokensUsed) -> None:
        sizes.append(len(report.uses))

    uses = TokenUses(publish, 60)
    await uses.report()
    assert sizes == []
    for number in range(MAX_REPORTED_USES + 1):
        uses.note(TOKEN.model_copy(update={"token_id": f"tok_{number}"}), NOW)
    await uses.report()
    assert sizes == [MAX_REPORTED_USES, 1]


async def test_what_cannot_be_sent_is_sent_later_with_the_newest_time() -> None:
    sent: list[ClientTokensUsed] = []
    away = True

    async def publish(report: ClientTokensUsed) -> None:
        if away:
            raise ConnectionClosedError
        sent.append(report)

    uses = TokenUses(publish, 60)
    other = TOKEN.model_copy(update={"token_id": "tok_2"})
    uses.note(TOKEN, NOW)
    uses.note(other, NOW)
    await uses.report()
    away = False
    uses.note(TOKEN, NOW + timedelta(minutes=1))
    await uses.report()
    (report,) = sent
    assert {use.token_id: use.used_at for use in report.uses} == {"tok_1": NOW + timedelta(minutes=1), "tok_2": NOW}
