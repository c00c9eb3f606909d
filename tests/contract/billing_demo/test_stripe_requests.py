"""The double of Stripe by the official package: keys, idempotency, pages, unknown parameters and planned failures."""

import asyncio

import httpx
import pytest
import stripe

from deploy.billing_demo.faults import FailureKind, PlannedFailure
from deploy.billing_demo.stripe.server import StripeDouble
from tests.support.billing.stripe_double import stripe_client


async def test_another_key_is_refused_and_not_repeated(double: StripeDouble) -> None:
    async with stripe_client(double, api_key="sk_test_" + "stranger" * 4) as stranger:
        with pytest.raises(stripe.AuthenticationError) as caught:
            await stranger.v1.customers.list_async()
    assert "strangerstranger" not in str(caught.value)


async def test_a_repeated_request_has_one_effect(client: stripe.StripeClient, double: StripeDouble) -> None:
    options: stripe.RequestOptions = {"idempotency_key": "once"}
    first = await client.v1.customers.create_async({"email": "a@acme.test"}, options)
    second = await client.v1.customers.create_async({"email": "a@acme.test"}, options)
    assert (first.id, len(double.state.table("customer"))) == (second.id, 1)
    assert second.last_response is not None
    headers = second.last_response.headers
    assert headers["idempotent-replayed"] == "true"
    with pytest.raises(stripe.IdempotencyError, match="same parameters") as caught:
        await client.v1.customers.create_async({"email": "b@acme.test"}, options)
    assert caught.value.http_status == 400
    with pytest.raises(stripe.IdempotencyError, match="same endpoint"):
        await client.v1.products.create_async({"name": "x"}, options)


async def test_a_key_in_use_conflicts(client: stripe.StripeClient, double: StripeDouble) -> None:
    double.api.keys.begin("busy", "POST", "/v1/customers", "email=a%40acme.test", double.state.now)
    with pytest.raises(stripe.APIError) as caught:
        await client.v1.customers.create_async({"email": "a@acme.test"}, {"idempotency_key": "busy"})
    assert caught.value.http_status == 409
    assert isinstance(caught.value.json_body, dict)
    assert caught.value.json_body["error"]["code"] == "idempotency_key_in_use"


async def test_a_declined_payment_is_repeated_as_declined(client: stripe.StripeClient, double: StripeDouble) -> None:
    params: stripe.params.PaymentIntentCreateParams = {
        "amount": 500,
        "currency": "usd",
        "payment_method": "pm_card_visa_chargeDeclined",
        "confirm": True,
    }
    codes = []
    for _ in range(2):
        with pytest.raises(stripe.CardError) as caught:
            await client.v1.payment_intents.create_async(params, {"idempotency_key": "declined"})
        codes.append(caught.value.code)
    assert codes == ["card_declined", "card_declined"]
    assert len(double.state.table("payment_intent")) == 1


async def test_an_invalid_request_leaves_its_key_unused(client: stripe.StripeClient) -> None:
    options: stripe.RequestOptions = {"idempotency_key": "mended"}
    with pytest.raises(stripe.InvalidRequestError):
        await client.v1.customers.create_async({"nonsense": 1}, options)  # type: ignore[arg-type]
    assert (await client.v1.customers.create_async({"email": "a@acme.test"}, options)).email == "a@acme.test"


@pytest.mark.parametrize(
    ("path", "form", "code", "param"),
    [
        ("customers", {"nonsense": "1"}, "parameter_unknown", "nonsense"),
        ("customers", {"address[planet]": "x"}, "parameter_unknown", "address[planet]"),
        ("payment_intents", {"amount": "100"}, "parameter_missing", "currency"),
        ("payment_intents", {"amount": "1.5", "currency": "usd"}, "parameter_invalid_integer", "amount"),
        ("checkout/sessions", {"mode": "pay"}, None, "mode"),
        ("refunds", {"charge": "ch_none"}, "resource_missing", "charge"),
    ],
)
async def test_wrong_parameters_are_refused_as_stripe_does(
    double: StripeDouble, path: str, form: dict[str, str], code: str | None, param: str
) -> None:
    async with httpx.AsyncClient(auth=(double.api_key, "")) as client:
        answer = await client.post(f"{double.url}/v1/{path}", data=form)
    error = answer.json()["error"]
    assert answer.status_code == (404 if code == "resource_missing" else 400)
    assert (error["type"], error.get("code"), error["param"]) == ("invalid_request_error", code, param)


async def test_pages_go_through_all_objects_once(client: stripe.StripeClient) -> None:
    made = [(await client.v1.customers.create_async({"name": str(number)})).id for number in range(7)]
    page = await client.v1.customers.list_async({"limit": 3})
    assert [customer.id async for customer in page.auto_paging_iter()] == made[::-1]
    before = await client.v1.customers.list_async({"limit": 2, "ending_before": made[0]})
    assert [customer.id for customer in before.data] == [made[2], made[1]]
    with pytest.raises(stripe.InvalidRequestError, match="between 1 and 100"):
        await client.v1.customers.list_async({"limit": 101})


async def test_a_field_that_is_no_object_cannot_be_expanded(client: stripe.StripeClient) -> None:
    customer = await client.v1.customers.create_async({"name": "x"})
    with pytest.raises(stripe.InvalidRequestError, match="cannot be expanded"):
        await client.v1.customers.retrieve_async(customer.id, {"expand": ["nothing"]})


@pytest.mark.parametrize(
    ("kind", "error"),
    [(FailureKind.RATE_LIMIT, stripe.RateLimitError), (FailureKind.SERVER_ERROR, stripe.APIError)],
)
async def test_planned_failures_have_no_effect(
    client: stripe.StripeClient, double: StripeDouble, kind: FailureKind, error: type[Exception]
) -> None:
    double.api.failures.add(PlannedFailure(kind, path="/v1/customers", method="POST"))
    with pytest.raises(error):
        await client.v1.customers.create_async({"name": "x"}, {"idempotency_key": "same"})
    assert not double.state.table("customer")
    await client.v1.customers.create_async({"name": "x"}, {"idempotency_key": "same"})
    assert len(double.state.table("customer")) == 1


async def test_a_lost_answer_is_fetched_by_the_same_key(client: stripe.StripeClient, double: StripeDouble) -> None:
    double.api.failures.add(PlannedFailure(FailureKind.LOST_ANSWER, path="/v1/customers"))
    with pytest.raises(stripe.APIConnectionError):
        await client.v1.customers.create_async({"name": "x"}, {"idempotency_key": "lost"})
    (existing,) = double.state.table("customer")
    assert (await client.v1.customers.create_async({"name": "x"}, {"idempotency_key": "lost"})).id == existing


async def test_a_late_answer_comes_after_its_effect(client: stripe.StripeClient, double: StripeDouble) -> None:
    double.api.failures.add(PlannedFailure(FailureKind.LATE_ANSWER, seconds=30.0))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await client.v1.customers.create_async({"name": "x"})
    assert len(double.state.table("customer")) == 1


async def test_another_version_of_the_api_is_refused(double: StripeDouble) -> None:
    async with httpx.AsyncClient(auth=(double.api_key, "")) as client:
        answer = await client.get(f"{double.url}/v1/customers", headers={"Stripe-Version": "2020-08-27"})
    assert answer.status_code == 400
    assert stripe.api_version in answer.json()["error"]["message"]
