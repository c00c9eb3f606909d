"""Unusual use of provider keys, and keys that are disabled because of it."""

from datetime import UTC, datetime, timedelta

from nats.aio.msg import Msg

from keyferry.contracts.alert_management import KEY_DISABLE
from keyferry.contracts.alerts import AlertState
from keyferry.contracts.key import DisableKey, KeyStatus, ProviderKey
from keyferry.contracts.service import ErrorCode, Refusal, refusal_reply
from tests.integration.usage_ledger.alerts.alert_ledger import KEY, AlertLedger
from tests.support.ledger.attempt_records import attempt_record
from tests.support.waiting import eventually_async

FIRED = AlertState.FIRED
OWN = {"provider": "openai", "model": "gpt-4o", "key_source": "byok", "key_id": "key_own1"}
DISABLED = ProviderKey(
    **KEY.model_dump(exclude={"status"}),
    status=KeyStatus.DISABLED,
    masked="sk-…A9f2",
    fingerprint="0123456789abcdef",
    created_at=datetime(2026, 1, 1, tzinfo=UTC),
    created_by="operator",
)


async def test_a_new_model_disables_the_key_once_the_vault_answers(ledger: AlertLedger) -> None:
    asked: list[DisableKey] = []

    async def answer(message: Msg) -> None:
        asked.append(DisableKey.decode(message.data))
        unavailable = refusal_reply(Refusal(code=ErrorCode.UNAVAILABLE, message="later"))
        await message.respond(unavailable if len(asked) == 1 else DISABLED.encode())

    await ledger.vault.subscribe(KEY_DISABLE.pattern(), KEY_DISABLE.queue or "", cb=answer)
    rule = await ledger.save_rule(metric="key_new_model", disable_key=True)
    week_ago = datetime.now(UTC) - timedelta(days=9)
    await ledger.record(attempt_record(started_at=week_ago, **OWN))
    await ledger.use(1, **OWN)
    other = await ledger.save_rule(metric="key_new_client_token")
    await ledger.use(1, **OWN | {"model": "gpt-5"})
    await ledger.until(rule.rule_id, FIRED)

    async def is_disabled() -> bool:
        (alert,) = await ledger.alerts(rule_id=rule.rule_id)
        return alert.key_disabled is True

    await eventually_async("the key is disabled", is_disabled)
    assert {(one.tenant, one.key_id, one.rule_id) for one in asked} == {("acme", "key_own1", rule.rule_id)}
    assert len(asked) == 2, "it is asked again while the vault is not available, and no more"
    assert (await ledger.alerts(rule_id=rule.rule_id))[0].subject == "key_own1:gpt-5"
    assert ledger.states(other.rule_id) == []
    await ledger.use(1, **OWN | {"client_token_id": "tok_stolen"})
    await ledger.until(other.rule_id, FIRED)


async def test_a_rule_does_not_disable_what_it_is_not_allowed_to(ledger: AlertLedger) -> None:
    """Without `disable_key` the vault is not asked: nobody answers here."""
    rule = await ledger.save_rule(metric="key_new_model")
    await ledger.record(attempt_record(started_at=datetime.now(UTC) - timedelta(days=9), **OWN))
    await ledger.use(1, **OWN | {"model": "gpt-5"})
    await ledger.until(rule.rule_id, FIRED)
    assert (await ledger.alerts(rule_id=rule.rule_id))[0].key_disabled is None
