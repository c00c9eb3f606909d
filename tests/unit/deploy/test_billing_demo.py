"""KEYFERRY_BILLING: which values are refused, and where the doubles listen."""

from pathlib import Path

import pytest

from deploy.billing_demo.demo_secrets import DemoSecrets
from deploy.embedded.billing_demo import BillingDemo, DemoPorts, is_demo
from deploy.embedded.errors import SettingsInvalid
from deploy.embedded.home import Home
from deploy.embedded.services import Addresses
from keyferry.contracts.integration_formats import check_secret_format
from keyferry.contracts.integration_secrets import IntegrationKind


@pytest.mark.parametrize(("value", "expected"), [("demo", True), ("", False)])
def test_the_doubles_run_where_they_are_asked_for(value: str, expected: bool) -> None:
    assert is_demo({"KEYFERRY_BILLING": value}) is expected
    assert not is_demo({})


@pytest.mark.parametrize("value", ["Demo", "1", "real", "stripe"])
def test_another_value_is_refused_with_what_to_do(value: str) -> None:
    with pytest.raises(SettingsInvalid, match=f"KEYFERRY_BILLING='{value}' is not known: set it to demo"):
        is_demo({"KEYFERRY_BILLING": value})


@pytest.mark.parametrize(
    "name", ["KEYFERRY_STRIPE_URL", "KEYFERRY_LAGO_URL", "KEYFERRY_SMTP_HOST", "KEYFERRY_SMTP_USER"]
)
def test_settings_for_real_ones_beside_the_doubles_are_refused(name: str) -> None:
    with pytest.raises(SettingsInvalid, match=name):
        is_demo({"KEYFERRY_BILLING": "demo", name: "somewhere"})


def test_the_doubles_keep_their_ports_and_secrets(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.prepare()
    ports = DemoPorts.choose(home, ())
    assert DemoPorts.choose(home, ()) == ports
    assert DemoPorts.choose(home, {ports.stripe}).stripe != ports.stripe
    directory = home.secrets / "billing-demo"
    assert DemoSecrets.ensure(directory) == DemoSecrets.ensure(directory)
    assert {file.stat().st_mode & 0o777 for file in directory.iterdir()} == {0o600}


def test_the_secrets_have_the_forms_that_the_vault_takes(tmp_path: Path) -> None:
    keys = DemoSecrets.ensure(tmp_path)
    check_secret_format(IntegrationKind.STRIPE_API_KEY, keys.stripe_api_key.reveal())
    check_secret_format(IntegrationKind.STRIPE_WEBHOOK_SECRET, keys.stripe_webhook_secret.reveal())
    check_secret_format(IntegrationKind.LAGO_API_KEY, keys.lago_api_key.reveal())


def test_no_secret_is_in_the_environment_or_the_arguments(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.prepare()
    demo = BillingDemo(home, DemoPorts.choose(home, ()))
    keys = DemoSecrets.ensure(home.secrets / "billing-demo")
    addresses = Addresses(nats_url="nats://127.0.0.1:1", http_host="127.0.0.1", http_port=1)
    spec = demo.process_config(addresses).make_spec()
    shown = " ".join([*spec.argv, *spec.env.values()])
    assert f"{addresses.console_url}/webhooks/stripe" in shown
    assert keys.stripe_api_key.reveal() not in shown
    assert keys.lago_api_key.reveal() not in shown
