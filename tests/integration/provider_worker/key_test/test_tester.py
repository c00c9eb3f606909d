"""The result of a key test by the provider's responses, over real connections, with recorded responses if available."""

import asyncio
from decimal import Decimal

import pytest

from keyferry.contracts.failure import FailureClass
from keyferry.contracts.key import KeyTest, KeyTestResult, KeyTestStep
from keyferry.contracts.providers import PROVIDERS
from keyferry.runtime.upstream.client import Timeouts
from services.provider_worker.adapters.registry import ADAPTERS
from tests.integration.provider_worker.key_test.provider import (
    FIELDS,
    KEY,
    build_command,
    json_reply,
    key_tester,
    lease,
    recorded_reply,
    routes,
    run_test,
)
from tests.support.providers.raw_http_server import Call, hangs, raw_http_server
from tests.support.providers.recorded_traffic import Case, recorded_cases

RECORDED = (
    "anthropic", "azure", "bedrock", "cohere", "deepseek", "gemini", "groq", "huggingface", "mistral", "openai", "openrouter",
    "perplexity", "xai",
)  # fmt: skip
CASES = recorded_cases(*RECORDED)
COMPLETION = json_reply(
    '{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"finish_reason":"length",'
    '"message":{"role":"assistant","content":"H"}}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}'
)
LIST = json_reply('{"object":"list","data":[{"id":"text-embedding-3"},{"id":"gpt-4o-mini"},{"id":"bad name"},{}]}')
REFUSED = json_reply('{"error":{"message":"Incorrect API key provided","code":"invalid_api_key"}}', "401 Unauthorized")
BROKE = json_reply(
    '{"error":{"message":"You exceeded your current quota","code":"insufficient_quota"}}', "429 Too Many Requests"
)
BUSY = json_reply('{"error":{"message":"Rate limit reached"}}', "429 Too Many Requests", "retry-after: 20")
DOWN = json_reply("upstream connect error", "503 Service Unavailable")


def passed(check: KeyTest) -> list[bool | None]:
    assert [step.step for step in check.steps] == list(KeyTestStep)
    assert all(step.detail for step in check.steps)
    return [step.passed for step in check.steps]


def step_of(kinds: set[FailureClass]) -> list[Case]:
    """Recorded errors by the adapter's failure class; chats only, because a key test makes only chats."""
    return [case for case in CASES if not case.endpoint.startswith("embed") and meaning(case) in kinds]


def meaning(case: Case) -> FailureClass | None:
    from services.provider_worker.key_test.tester import _run

    adapter = ADAPTERS[case.provider]
    run = _run(case.provider, "m", "https://a.example/v1", FIELDS)
    request = adapter.request(run, b'{"model":"m","messages":[{"role":"user","content":"Hi"}]}')
    if case.status < 400:
        return None
    reader = adapter.reader(run, request, case.status, case.headers)
    reader.feed(case.body)
    failure = reader.close().failure
    return failure.failure_class if failure else None


def complete_chats() -> list[Case]:
    """The first recorded chat of each provider that was answered in one piece."""
    chats = [
        case
        for case in CASES
        if case.status == 200 and not case.stream and case.kind != "error" and "embed" not in case.endpoint
    ]
    return list({case.provider: case for case in reversed(chats)}.values())


async def test_a_valid_key_passes_every_step_and_lists_its_models() -> None:
    check, double = await run_test("openai", routes({"GET /v1/models": LIST, "POST /v1/chat/completions": COMPLETION}))
    assert passed(check) == [True, True, True, True]
    assert (check.result, check.failure_class) == (KeyTestResult.VALID, None)
    assert check.models == ["text-embedding-3", "gpt-4o-mini"]
    assert all(step.duration_ms is not None for step in check.steps)
    listing, chat = double.requests
    assert listing.line == "GET /v1/models HTTP/1.1"
    assert (listing.body, listing.header("content-length"), listing.header("content-type")) == (b"", None, None)
    assert {request.header("authorization") for request in (listing, chat)} == {f"Bearer {KEY}"}
    assert b'"max_completion_tokens":1' in chat.body


@pytest.mark.parametrize("case", complete_chats(), ids=str)
async def test_every_providers_chat_response_makes_a_key_valid(case: Case) -> None:
    model = PROVIDERS[case.provider].test_model or "gpt-4o"
    check, _ = await run_test(case.provider, routes({"POST": recorded_reply(case)}), path="", model=model)
    assert check.result is KeyTestResult.VALID, check
    assert passed(check) == [True, True, True, True]


@pytest.mark.parametrize("case", step_of({FailureClass.AUTH}), ids=str)
async def test_a_recorded_auth_error_makes_the_key_invalid(case: Case) -> None:
    check, _ = await run_test(case.provider, routes({}, recorded_reply(case)), path="", model="gpt-4o")
    if b"Signature expired" in case.body:
        assert (check.result, check.failure_class) == (KeyTestResult.INCONCLUSIVE, FailureClass.INTERNAL)
        return
    assert (check.result, check.failure_class) == (KeyTestResult.INVALID, FailureClass.AUTH)
    assert passed(check)[:2] == [True, False]


@pytest.mark.parametrize(
    "case",
    step_of({FailureClass.RATE_LIMIT, FailureClass.OVERLOADED, FailureClass.SERVER, FailureClass.TIMEOUT}),
    ids=str,
)
async def test_a_recorded_server_error_leaves_the_result_open(case: Case) -> None:
    check, _ = await run_test(case.provider, routes({}, recorded_reply(case)), path="", model="gpt-4o")
    assert check.result is KeyTestResult.INCONCLUSIVE, check
    assert False not in passed(check)


@pytest.mark.parametrize("case", step_of({FailureClass.NOT_FOUND, FailureClass.QUOTA}), ids=str)
async def test_a_recorded_missing_model_or_quota_error_degrades_the_key(case: Case) -> None:
    check, _ = await run_test(case.provider, routes({"POST": recorded_reply(case)}), path="", model="gpt-4o")
    assert check.result is KeyTestResult.DEGRADED, check
    assert check.failure_class in (FailureClass.NOT_FOUND, FailureClass.QUOTA)


def test_every_kind_of_response_is_recorded() -> None:
    assert len(complete_chats()) == len(RECORDED)
    assert len(step_of({FailureClass.AUTH})) >= 8
    assert len(step_of({FailureClass.RATE_LIMIT})) >= 4


@pytest.mark.parametrize(
    ("chat", "result", "kind", "steps"),
    [
        (REFUSED, KeyTestResult.INVALID, FailureClass.AUTH, [True, False, None, None]),
        (BROKE, KeyTestResult.DEGRADED, FailureClass.QUOTA, [True, True, False, None]),
        (BUSY, KeyTestResult.INCONCLUSIVE, FailureClass.RATE_LIMIT, [True, True, None, None]),
        (DOWN, KeyTestResult.INCONCLUSIVE, FailureClass.OVERLOADED, [True, True, None, None]),
        (
            json_reply('{"error":{"message":"not in your country"}}', "403 Forbidden"),
            KeyTestResult.DEGRADED,
            FailureClass.AUTH,
            [True, True, None, False],
        ),
        (
            json_reply('{"error":{"message":"The model does not exist","code":"model_not_found"}}', "404 Not Found"),
            KeyTestResult.DEGRADED,
            FailureClass.NOT_FOUND,
            [True, True, None, False],
        ),
        (
            json_reply('{"error":{"message":"Could not finish: max_tokens was reached"}}', "400 Bad Request"),
            KeyTestResult.VALID,
            None,
            [True, True, True, True],
        ),
        (
            json_reply('{"error":{"message":"Payment required"}}', "402 Payment Required"),
            KeyTestResult.DEGRADED,
            FailureClass.QUOTA,
            [True, True, False, None],
        ),
        (
            json_reply("<html>moved</html>", "301 Moved Permanently", "location: http://127.0.0.1:9/"),
            KeyTestResult.INCONCLUSIVE,
            FailureClass.SERVER,
            [True, True, None, None],
        ),
        (json_reply("not json"), KeyTestResult.INCONCLUSIVE, FailureClass.SERVER, [True, True, None, None]),
    ],
)
async def test_the_chat_decides_over_the_list(
    chat: bytes, result: KeyTestResult, kind: FailureClass | None, steps: list[bool | None]
) -> None:
    check, _ = await run_test("openai", routes({"GET": LIST, "POST": chat}))
    assert (check.result, check.failure_class) == (result, kind), check
    assert passed(check) == steps


@pytest.mark.parametrize("status", ["401 Unauthorized", "403 Forbidden"])
async def test_a_restricted_key_without_list_access_is_valid_if_it_chats(status: str) -> None:
    scope = json_reply('{"error":{"message":"Missing scopes: api.model.read"}}', status)
    check, _ = await run_test("openai", routes({"GET": scope, "POST": COMPLETION}))
    assert check.result is KeyTestResult.VALID
    assert check.models == []


@pytest.mark.parametrize(
    ("listed", "chat", "result"),
    [
        ("401 Unauthorized", DOWN, KeyTestResult.INCONCLUSIVE),
        ("401 Unauthorized", BUSY, KeyTestResult.INCONCLUSIVE),
        ("401 Unauthorized", json_reply("{}", "404 Not Found"), KeyTestResult.INVALID),
        ("403 Forbidden", json_reply("{}", "404 Not Found"), KeyTestResult.DEGRADED),
    ],
)
async def test_a_refused_list_alone_does_not_make_a_key_invalid(
    listed: str, chat: bytes, result: KeyTestResult
) -> None:
    check, _ = await run_test("openai", routes({"GET": json_reply("{}", listed), "POST": chat}))
    assert check.result is result


async def test_a_public_list_proves_nothing() -> None:
    check, _ = await run_test("deepinfra", routes({"GET": LIST, "POST": DOWN}))
    assert check.result is KeyTestResult.INCONCLUSIVE
    assert passed(check)[:2] == [True, None]
    check, _ = await run_test("deepinfra", routes({"GET": LIST, "POST": REFUSED}))
    assert check.result is KeyTestResult.INVALID


async def test_a_missing_default_model_is_replaced_by_a_listed_one_but_an_allowed_one_is_not() -> None:
    gone = json_reply('{"error":{"message":"no such model","code":"model_not_found"}}', "404 Not Found")

    async def behave(call: Call) -> None:
        listed = json_reply('{"data":[{"id":"text-embedding-x"},{"id":"new-model"}]}')
        answer = COMPLETION if b"new-model" in call.request.body else gone
        await call.send(listed if call.request.line.startswith("GET") else answer)

    check, _ = await run_test("groq", behave, model=PROVIDERS["groq"].test_model)
    assert check.result is KeyTestResult.VALID
    assert "new-model answers (llama-3.1-8b-instant cannot be called with this key)" in check.steps[-1].detail
    check, _ = await run_test("groq", behave, model="only-this-one")
    assert (check.result, check.failure_class) == (KeyTestResult.DEGRADED, FailureClass.NOT_FOUND)
    assert "only-this-one" in check.steps[-1].detail


async def test_a_custom_server_is_tested_with_its_first_listed_model() -> None:
    check, double = await run_test("custom", routes({"GET": LIST, "POST": COMPLETION}))
    assert check.result is KeyTestResult.VALID
    assert b'"gpt-4o-mini"' in double.requests[-1].body
    check, double = await run_test("custom", routes({"GET": json_reply('{"data":[]}')}))
    assert check.result is KeyTestResult.INCONCLUSIVE
    assert "no model to call is known" in check.steps[-1].detail
    assert len(double.requests) == 1
    check, _ = await run_test("custom", routes({"GET": REFUSED}))
    assert check.result is KeyTestResult.INVALID


async def test_an_accepted_key_without_a_callable_model_is_valid() -> None:
    check, double = await run_test("azure", routes({"GET": LIST}), path="", fields={"api_version": "2024-10-21"})
    assert double.requests[0].line == "GET /openai/models?api-version=2024-10-21 HTTP/1.1"
    assert double.requests[0].header("api-key") == KEY
    assert (check.result, check.models) == (KeyTestResult.VALID, [])
    assert passed(check) == [True, True, None, None]


async def test_azure_calls_the_keys_deployment() -> None:
    answers = routes({"GET": LIST, "POST /openai/v1/chat/completions": COMPLETION})
    check, double = await run_test("azure", answers, path="/openai/v1", fields={"deployment": "prod"})
    assert check.result is KeyTestResult.VALID
    assert b'"model":"prod"' in double.requests[-1].body


async def test_openrouters_remaining_credit_is_exact() -> None:
    answers = {
        "GET /api/v1/key": json_reply('{"data":{"label":"sk-or","limit":null,"limit_remaining":null,"usage":1}}'),
        "GET /api/v1/credits": json_reply('{"data":{"total_credits":10.1,"total_usage":9.999999999999999}}'),
        "GET /api/v1/models": LIST,
        "POST /api/v1/chat/completions": COMPLETION,
    }
    check, _ = await run_test("openrouter", routes(answers), path="/api/v1")
    assert check.result is KeyTestResult.VALID
    assert check.credit_left_usd == Decimal("0.1")
    apply_limit = json_reply('{"data":{"limit":5,"limit_remaining":0}}')
    check, _ = await run_test("openrouter", routes(answers | {"GET /api/v1/key": apply_limit}), path="/api/v1")
    assert (check.result, check.failure_class) == (KeyTestResult.DEGRADED, FailureClass.QUOTA)
    assert check.credit_left_usd == 0
    refused = json_reply('{"error":{"message":"User not found.","code":401}}', "401 Unauthorized")
    check, _ = await run_test("openrouter", routes({"GET /api/v1/models": LIST}, refused), path="/api/v1")
    assert check.result is KeyTestResult.INVALID


async def test_deepseeks_balance_is_reported() -> None:
    balance = '{"is_available":false,"balance_infos":[{"currency":"CNY","total_balance":"0.00"}]}'
    answers = {"GET /user/balance": json_reply(balance), "GET /v1/models": LIST, "POST": COMPLETION}
    check, _ = await run_test("deepseek", routes(answers))
    assert (check.result, check.credit_left_usd) == (KeyTestResult.DEGRADED, None)


async def test_bedrock_gets_one_signed_call_only() -> None:
    pair = "AKIAIOSFODNN7EXAMPLE:wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY"
    case = next(case for case in complete_chats() if case.provider == "bedrock")
    check, double = await run_test(
        "bedrock", routes({"POST": recorded_reply(case)}), path="", model="eu.amazon.nova", key=pair
    )
    assert check.result is KeyTestResult.VALID
    (request,) = double.requests
    assert (request.header("authorization") or "").startswith("AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/")
    assert "wJalr" not in str(request)


async def test_an_unreachable_or_silent_provider_does_not_make_a_key_invalid() -> None:
    async with raw_http_server(routes({})) as double:
        origin = double.url("")
    async with key_tester() as tests:
        check = await tests.check(build_command("openai", f"{origin}/v1"), lease("openai", origin))
    assert (check.result, check.failure_class) == (KeyTestResult.INCONCLUSIVE, FailureClass.UNREACHABLE)
    assert passed(check) == [False, None, None, None]
    quick = Timeouts(connect_seconds=0.5, first_byte_seconds=0.05, between_bytes_seconds=5)
    async with raw_http_server(hangs) as double, key_tester(timeouts=quick) as tests:
        check = await tests.check(build_command("openai", double.url("/v1")), lease("openai", double.url("")))
    assert (check.result, check.failure_class) == (KeyTestResult.INCONCLUSIVE, FailureClass.TIMEOUT)


async def test_all_calls_share_one_deadline() -> None:
    """Every piece of the list arrives in time, but the list never ends."""

    async def drips(call: Call) -> None:
        await call.send(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n[")
        while True:
            await call.send(b" ")
            await asyncio.sleep(0.01)

    async with raw_http_server(drips) as double, key_tester(within_seconds=0.3) as tests:
        check = await tests.check(build_command("openai", double.url("/v1")), lease("openai", double.url("")))
        assert (check.result, check.failure_class) == (KeyTestResult.INCONCLUSIVE, FailureClass.TIMEOUT)
        assert len(double.requests) <= 2


async def test_an_oversized_list_is_skipped_and_the_chat_decides() -> None:
    huge = json_reply('{"data":[' + '{"id":"a"},' * 500_000 + "{}]}")
    check, _ = await run_test("openai", routes({"GET": huge, "POST": COMPLETION}))
    assert (check.result, check.models) == (KeyTestResult.VALID, [])


async def test_a_key_is_sent_to_its_own_origin_only() -> None:
    """The address in a test's message is not signed; the key's origin is."""
    async with raw_http_server(routes({}, COMPLETION)) as foreign, key_tester() as tests:
        check = await tests.check(
            build_command("openai", foreign.url("/v1")), lease("openai", "https://api.openai.com")
        )
        assert check.result is KeyTestResult.INCONCLUSIVE
        assert "belongs to https://api.openai.com" in check.steps[0].detail
        assert foreign.connections == 0


@pytest.mark.parametrize(
    "echo",
    [
        f"Incorrect API key provided: {KEY}.",
        f"Incorrect API key provided: {KEY[:14]}****{KEY[-9:]}.",
        f"Bearer {KEY}",
        f"you sent [{KEY}{KEY}]",
    ],
)
async def test_a_key_repeated_by_the_provider_is_redacted(echo: str) -> None:
    refused = json_reply(f'{{"error":{{"message":"{echo}","code":"invalid_api_key"}}}}', "401 Unauthorized")
    listed = json_reply(f'{{"data":[{{"id":"ft:{KEY}"}},{{"id":"m"}}]}}')
    for answers in ({"GET": listed, "POST": refused}, {"GET": refused, "POST": refused}):
        check, _ = await run_test("openai", routes(answers))
        text = check.encode().decode()
        assert not [at for at in range(len(KEY) - 8) if KEY[at : at + 9] in text]
        assert check.result is KeyTestResult.INVALID


async def test_missing_key_fields_are_reported_before_anything_is_sent() -> None:
    check, double = await run_test("bedrock", routes({}, COMPLETION), fields={}, model="m")
    assert check.result is KeyTestResult.INCONCLUSIVE
    assert "region" in check.steps[0].detail
    assert double.connections == 0


async def test_an_unknown_provider_is_inconclusive() -> None:
    check, double = await run_test("nobody", routes({}, COMPLETION))
    assert (check.result, check.failure_class) == (KeyTestResult.INCONCLUSIVE, FailureClass.UNAVAILABLE)
    assert double.connections == 0
