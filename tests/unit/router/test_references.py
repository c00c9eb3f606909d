"""What the router says of providers and models that alert rules name."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from types import MappingProxyType

import pytest

from keyferry.contracts.alert_metrics import ScopeField
from keyferry.contracts.alert_references import AlertReference, CheckReferences
from keyferry.contracts.route import Endpoint
from keyferry.contracts.service import ErrorCode
from keyferry.contracts.tenancy import Tenant, Tier
from keyferry.runtime.bus.requests import Refused
from services.router.planning.context import RoutingContext
from services.router.planning.provider_keys import KeyIndex
from services.router.reference_handlers import ReferenceQuestions
from services.router.references import find_missing
from tests.support.router.keys_and_prices import catalog, key_facts

OWN = Endpoint(tenant="acme", name="gpu", base_url="http://localhost:1/v1", models=["tiny"])


def context() -> RoutingContext:
    index = KeyIndex()
    index.rebuild([key_facts("groq", models=["kimi-x"]), key_facts("mistral", "key_2", allowed_models=["devstral-x"])])
    tenant = Tenant(tenant="acme", name="Acme", tier=Tier.ENTERPRISE)
    return RoutingContext(
        tenant, (OWN,), datetime(2026, 11, 1, tzinfo=UTC), catalog=catalog(), own_keys=index.of("acme")
    )


def model(value: str, provider: str | None = None) -> AlertReference:
    return AlertReference(field=ScopeField.MODEL, value=value, provider=provider)


def provider(value: str) -> AlertReference:
    return AlertReference(field=ScopeField.PROVIDER, value=value)


@pytest.mark.parametrize(
    "known",
    [
        model("gpt-4o"),
        model("gpt-4o", "openai"),
        model("gpt-4o-2024-08-06"),
        model("echo"),
        model("kimi-x"),
        model("kimi-x", "groq"),
        model("devstral-x", "mistral"),
        model("tiny"),
        model("tiny", "custom"),
        model("whatever-it-serves", "vllm"),
        model("a-deployment", "azure"),
        provider("openai"),
        provider("echo"),
        provider("cannot-be-read"),
        AlertReference(field=ScopeField.TEAM, value="nobody"),
    ],
)
def test_what_attempts_may_have_is_known(known: AlertReference) -> None:
    assert find_missing([known], context(), {"cannot-be-read"}) == []


@pytest.mark.parametrize(
    ("unknown", "says"),
    [
        (model("gpt-nope"), "a model gpt-nope,"),
        (model("gpt-4o", "groq"), "a model gpt-4o at groq,"),
        (model("kimi-x", "openai"), "a model kimi-x at openai,"),
        (model("tiny", "openai"), "a model tiny at openai,"),
        (provider("opnai"), "there is no provider opnai (any more)"),
    ],
)
def test_what_is_unknown_is_named(unknown: AlertReference, says: str) -> None:
    (missing,) = find_missing([unknown], context(), ())
    assert (missing.field, missing.value, missing.provider) == (unknown.field, unknown.value, unknown.provider)
    assert says in missing.reason


def test_a_name_of_the_catalog_alone_has_those_of_its_providers() -> None:
    found = context()
    alone = next(
        (each for each in found.catalog if each.id not in {offering.upstream for offering in each.offerings}), None
    )
    assert alone is not None
    (missing,) = find_missing([model(alone.id)], found, ())
    assert f"{alone.offerings[0].upstream} at {alone.offerings[0].provider}" in missing.reason


class _NothingUnreadable:
    unreadable: Mapping[str, str] = MappingProxyType({})


@pytest.mark.parametrize(("complete", "unreadable"), [(False, None), (True, "an endpoint cannot be read")])
async def test_nothing_is_said_before_everything_is_known(complete: bool, unreadable: str | None) -> None:
    found = replace(context(), unreadable=unreadable)
    handlers = ReferenceQuestions(lambda tenant: found, lambda: complete, _NothingUnreadable())  # type: ignore[arg-type]
    with pytest.raises(Refused) as refused:
        await handlers.check(CheckReferences(tenant="acme", references=[model("gpt-nope")]))
    assert refused.value.refusal.code is ErrorCode.UNAVAILABLE
