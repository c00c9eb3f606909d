import pytest

from keyferry.contracts.origin import check_url
from keyferry.contracts.providers import PROVIDERS
from services.provider_worker.key_test.plans import PLANS, KeyTestPlan, plan_for


def test_every_provider_has_a_row() -> None:
    assert set(PLANS) == set(PROVIDERS)


@pytest.mark.parametrize(
    ("provider", "base_url", "urls"),
    [
        ("openai", "https://api.openai.com/v1", ["/v1/models"]),
        ("anthropic", "https://api.anthropic.com", ["/v1/models?limit=1000"]),
        ("anthropic", "https://api.anthropic.com/v1", ["/v1/models?limit=1000"]),
        ("gemini", "https://generativelanguage.googleapis.com/v1beta", ["/v1beta/models?pageSize=1000"]),
        ("cohere", "https://api.cohere.com", ["/v1/models?page_size=1000&endpoint=chat"]),
        ("openrouter", "https://openrouter.ai/api/v1", ["/api/v1/key", "/api/v1/credits", "/api/v1/models"]),
        ("deepseek", "https://api.deepseek.com/v1", ["/user/balance", "/v1/models"]),
        ("azure", "https://x.openai.azure.com", ["/openai/v1/models"]),
        ("azure", "https://x.openai.azure.com/openai/v1", ["/openai/v1/models"]),
        ("azure", "https://x.services.ai.azure.com/models", []),
        ("bedrock", "https://bedrock-runtime.eu-central-1.amazonaws.com", []),
        ("vertex", "https://europe-west4-aiplatform.googleapis.com/v1", []),
        ("perplexity", "https://api.perplexity.ai", []),
    ],
)
def test_each_call_goes_to_the_keys_own_origin(provider: str, base_url: str, urls: list[str]) -> None:
    plan = plan_for(provider, base_url)
    gets = [*plan.credit, *([plan.models] if plan.models else [])]
    origin = check_url(base_url, allow_plain_http=False)
    made = [get.url(base_url, {}) for get in gets]
    assert all(check_url(url, allow_plain_http=False) == origin for url in made)
    assert [url.removeprefix(str(origin)) for url in made] == urls


def test_azures_version_is_escaped() -> None:
    models = plan_for("azure", "https://x.openai.azure.com").models
    assert models is not None
    assert models.url("https://x.openai.azure.com", {"api_version": "2024-10-21&x=/"}).endswith(
        "/openai/models?api-version=2024-10-21%26x%3D%2F"
    )


def test_a_provider_without_a_row_gets_only_a_chat() -> None:
    assert plan_for("nobody", "https://a.example") == KeyTestPlan()
