"""The realm for Keycloak has what the console's settings expect by default. No Keycloak runs here: only the file is compared."""

import json
from pathlib import Path
from typing import Any

from keyferry.contracts.tenancy import Tier
from services.console.sign_in.settings import SignInSettings

REALM: dict[str, Any] = json.loads(
    (Path(__file__).resolve().parents[3] / "deploy/keycloak/keyferry-realm.json").read_text()
)


def default(name: str) -> Any:
    return SignInSettings.model_fields[name].get_default(call_default_factory=True)


def mappers(client: dict[str, Any]) -> dict[str, dict[str, str]]:
    """Return the configuration of each mapper by the claim that it writes."""
    return {mapper["config"].get("claim.name", "aud"): mapper["config"] for mapper in client["protocolMappers"]}


def test_the_realm_matches_the_defaults_of_the_settings() -> None:
    (client,) = REALM["clients"]
    assert client["clientId"] == default("oidc_client_id")
    claims = mappers(client)
    for setting in (
        "oidc_tenant_claim",
        "oidc_role_claim",
        "oidc_operator_claim",
        "oidc_membership_claim",
        "oidc_tier_claim",
    ):
        assert claims[default(setting)]["id.token.claim"] == "true", setting
    assert claims["aud"]["included.custom.audience"] == default("oidc_audience")
    assert claims["aud"]["id.token.claim"] == "false", "an ID token is no credential for the API"
    roles = {role["name"] for role in REALM["roles"]["realm"]}
    assert roles == set(default("oidc_roles")) | default("oidc_operators")
    port = default("http_port")
    assert client["redirectUris"] == [f"http://127.0.0.1:{port}/auth/callback"]


def test_the_client_may_do_no_more_than_the_two_flows() -> None:
    (client,) = REALM["clients"]
    assert client["standardFlowEnabled"]
    assert client["attributes"]["oauth2.device.authorization.grant.enabled"] == "true"
    assert client["attributes"]["pkce.code.challenge.method"] == "S256"
    assert not client["publicClient"]
    assert not any(
        client[flow] for flow in ("implicitFlowEnabled", "directAccessGrantsEnabled", "serviceAccountsEnabled")
    )
    assert "secret" not in client, "Keycloak makes one: no secret is in the repository"


def test_the_groups_give_one_tenant_a_known_plan() -> None:
    demo = next(group for group in REALM["groups"] if group["name"] == "demo")
    assert demo["attributes"]["tenant"] == ["demo"]
    (tier,) = demo["attributes"]["subscription_tier"]
    assert Tier(tier) is Tier.PROFESSIONAL
    assert {role for group in demo["subGroups"] for role in group["realmRoles"]} == set(default("oidc_roles"))
