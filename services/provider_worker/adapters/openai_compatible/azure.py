"""Where Azure OpenAI and Azure AI Foundry are called.

Source: the Azure OpenAI REST API reference. Three forms are in use: the older one with the deployment in the path and an
`api-version`, the newer one below `/openai/v1` that names the deployment as the model, and Foundry's `/models`.
"""

from urllib.parse import quote

from keyferry.contracts.chat import AttemptRun

_FOUNDRY_API_VERSION = "2024-05-01-preview"
"""The version that Foundry's `/models` is documented with; used where the key's fields name none."""


def azure_url(base_url: str, path: str, run: AttemptRun) -> tuple[str, str]:
    """The URL to call and the model to name, from the endpoint, `run.model` and the key's fields.

    With `api_version` it is the older form, whose deployment is the field `deployment` or else the model asked for; without
    one the newer form. A base URL that ends in `/models` is Foundry's, whatever the fields say.
    """
    endpoint = base_url.rstrip("/")
    deployment = run.key_fields.get("deployment") or run.model
    version = run.key_fields.get("api_version")
    if endpoint.endswith("/models"):
        return f"{endpoint}{path}?api-version={_quoted(version or _FOUNDRY_API_VERSION)}", run.model
    endpoint = endpoint.removesuffix("/v1").removesuffix("/openai")
    if version:
        return f"{endpoint}/openai/deployments/{_quoted(deployment)}{path}?api-version={_quoted(version)}", deployment
    return f"{endpoint}/openai/v1{path}", deployment


def _quoted(text: str) -> str:
    return quote(text, safe="")
