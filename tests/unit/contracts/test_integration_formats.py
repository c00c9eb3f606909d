"""Forms of integration secrets: what fits, what is refused as something else, and what may be shown."""

from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyferry.contracts.integration_formats import FORMS, ImplausibleSecret, check_secret_format, mask_secret
from keyferry.contracts.integration_secrets import (
    BILLING_KINDS,
    NOTIFIER_KINDS,
    IntegrationKind,
    LeaseIntegrationSecret,
    SaveIntegrationSecret,
)

K = IntegrationKind
RANDOM = "a1B2c3D4e5F6g7H8i9J0"
SIGNING = f"whsec_{b64encode(bytes(range(32))).decode()}"
GOOD = {
    K.STRIPE_API_KEY: [f"sk_live_{RANDOM}", f"sk_test_51{RANDOM}", f"rk_live_{RANDOM}", f"rk_test_{RANDOM}"],
    K.STRIPE_WEBHOOK_SECRET: [f"whsec_{RANDOM}"],
    K.LAGO_API_KEY: ["73a4c1de-0b8e-4c1a-9d3f-6a5b4c3d2e1f", f"lago_key-{RANDOM}"],
    K.SMTP_PASSWORD: ["abcd efgh ijkl mnop", "pässwörd", "x", "SG.abc.def"],
    K.SLACK_WEBHOOK_URL: [f"https://hooks.slack.com/services/T00/B00/{RANDOM}"],
    K.WEBHOOK_SECRET: [SIGNING],
    K.OPENAI_ADMIN_KEY: [f"sk-admin-{RANDOM}"],
    K.ANTHROPIC_ADMIN_KEY: [f"sk-ant-admin01-{RANDOM}"],
    K.OPENROUTER_MANAGEMENT_KEY: [f"sk-or-v1-{RANDOM}"],
}
REFUSED = [
    (K.STRIPE_API_KEY, f"pk_live_{RANDOM}", "publishable key"),
    (K.STRIPE_API_KEY, f"whsec_{RANDOM}", "signing secret of a webhook"),
    (K.STRIPE_API_KEY, f"sk-proj-{RANDOM}", "a key of OpenAI"),
    (K.STRIPE_API_KEY, "acct_1032D82eZvKYlo2C", "the id of something at Stripe"),
    (K.STRIPE_API_KEY, "sk_live_x", "not all of"),
    (K.STRIPE_API_KEY, RANDOM, "begins with sk_live_"),
    (K.STRIPE_API_KEY, f"sk_live_{RANDOM} ", "spaces"),
    (K.STRIPE_WEBHOOK_SECRET, f"sk_live_{RANDOM}", "secret or restricted key of Stripe"),
    (K.STRIPE_WEBHOOK_SECRET, "we_1MgcQO2eZvKYlo2C", "the id of something at Stripe"),
    (K.LAGO_API_KEY, f"sk-ant-api03-{RANDOM}", "a key of Anthropic"),
    (K.LAGO_API_KEY, f"sk_live_{RANDOM}", "key of Stripe"),
    (K.SMTP_PASSWORD, f"sk-proj-{RANDOM * 2}", "a key of OpenAI"),
    (K.SMTP_PASSWORD, f"https://hooks.slack.com/services/T00/B00/{RANDOM}", "incoming webhook of Slack"),
    (K.SLACK_WEBHOOK_URL, f"xoxb-{RANDOM}", "needs its URL"),
    (K.SLACK_WEBHOOK_URL, f"https://hooks.slack.com.evil.example/services/T00/B00/{RANDOM}", "begins with"),
    (K.SLACK_WEBHOOK_URL, f"http://hooks.slack.com/services/T00/B00/{RANDOM}", "begins with"),
    (K.SLACK_WEBHOOK_URL, f"https://hooks.slack.com/services/T00/B00/{RANDOM}?to=x", "not all of"),
    (K.WEBHOOK_SECRET, "whsec_" + "A" * 28, "not all of"),
    (K.WEBHOOK_SECRET, "whsec_" + "A" * 33, "24 to 64 random bytes"),
    (K.OPENAI_ADMIN_KEY, f"sk-proj-{RANDOM}", "a key of OpenAI"),
    (K.ANTHROPIC_ADMIN_KEY, f"sk-ant-api03-{RANDOM}", "a key of Anthropic"),
    (K.OPENROUTER_MANAGEMENT_KEY, f"sk-admin-{RANDOM}", "an admin key of an OpenAI organization"),
]


def test_every_kind_has_a_form_and_one_reader() -> None:
    assert set(FORMS) == set(IntegrationKind) == set(GOOD)
    assert set(IntegrationKind) == BILLING_KINDS | NOTIFIER_KINDS
    assert not BILLING_KINDS & NOTIFIER_KINDS


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, texts in GOOD.items() for text in texts])
def test_secret_of_its_kind_fits_and_is_masked(kind: IntegrationKind, text: str) -> None:
    check_secret_format(kind, text)
    masked = mask_secret(kind, text)
    hidden = text.removeprefix(next((one for one in FORMS[kind].shown if text.startswith(one)), ""))
    shown = masked.rpartition("…")[2]
    assert hidden.endswith(shown)
    assert len(shown) <= max(len(hidden) // 3, 0)
    assert kind is not K.SMTP_PASSWORD or masked == "…"


@pytest.mark.parametrize(("kind", "text", "says"), REFUSED)
def test_look_alike_is_refused_with_what_it_is(kind: IntegrationKind, text: str, says: str) -> None:
    with pytest.raises(ImplausibleSecret, match=says) as refused:
        check_secret_format(kind, text)
    assert text not in str(refused.value)


@pytest.mark.parametrize("kind", IntegrationKind)
@pytest.mark.parametrize(
    "text",
    ["", "a\x00b", "a\nb", "\ud800", "a" * 2001, " a", "{}", "-----BEGIN RSA PRIVATE KEY-----", f"kf_live_{RANDOM}"],
)
def test_no_kind_takes_what_no_secret_may_be(kind: IntegrationKind, text: str) -> None:
    with pytest.raises(ImplausibleSecret):
        check_secret_format(kind, text)


@given(st.sampled_from(list(IntegrationKind)), st.text(max_size=300))
def test_any_text_is_taken_or_refused_without_repeating_it(kind: IntegrationKind, text: str) -> None:
    message = None
    try:
        check_secret_format(kind, text)
    except ImplausibleSecret as error:
        message = str(error)
    if message is not None:
        assert len(text) < 12 or text not in message
    else:
        assert text.encode()
        assert kind in (K.LAGO_API_KEY, K.SMTP_PASSWORD) or text.startswith(FORMS[kind].shown)


def test_a_chat_in_a_private_network_may_stand_in_for_slack() -> None:
    url = "http://mattermost.internal:8065/hooks/abcdefgh"
    with pytest.raises(ImplausibleSecret):
        check_secret_format(K.SLACK_WEBHOOK_URL, url)
    check_secret_format(K.SLACK_WEBHOOK_URL, url, private_networks=True)
    with pytest.raises(ImplausibleSecret):
        check_secret_format(K.SLACK_WEBHOOK_URL, "ftp://mattermost.internal/hooks", private_networks=True)


@pytest.mark.parametrize("name", ["", " ", "\x00", "a\nb", "x" * 101, f"sk-proj-{RANDOM * 2}"])
def test_names_are_bounded_and_hold_no_key(name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        SaveIntegrationSecret(tenant="acme", kind=K.SLACK_WEBHOOK_URL, name=name, sealed="A")


def test_a_tenant_has_no_secret_that_only_the_platform_has() -> None:
    SaveIntegrationSecret(tenant="platform", kind=K.STRIPE_API_KEY, name="main", sealed="A")
    with pytest.raises(ValueError, match="only the platform"):
        SaveIntegrationSecret(tenant="acme", kind=K.STRIPE_API_KEY, name="main", sealed="A")


def test_a_repeatable_secret_is_read_by_its_id() -> None:
    values = {"tenant": "acme", "instance_id": "inst_1", "suite": "x", "public_key": "A", "nonce": "A"}
    LeaseIntegrationSecret.model_validate(values | {"kind": "lago_api_key"})
    with pytest.raises(ValueError, match="name one by its id"):
        LeaseIntegrationSecret.model_validate(values | {"kind": "webhook_secret"})
