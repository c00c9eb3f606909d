"""A credential of an installation is never taken for a provider's key, whichever the provider."""

import secrets
from pathlib import Path

import nkeys
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from deploy.embedded import secret_files
from deploy.embedded.home import Home
from keyferry.contracts import client_token, ids
from keyferry.contracts.own_credentials import describe_own_credential
from keyferry.contracts.providers import PROVIDERS, ImplausibleKey, check_format
from keyferry.contracts.secret import Secret
from keyferry.sealing.intake import IntakeOpener, seal_key

_PREFIX_BYTES = {
    "user": nkeys.PREFIX_BYTE_USER,
    "account": nkeys.PREFIX_BYTE_ACCOUNT,
    "operator": nkeys.PREFIX_BYTE_OPERATOR,
    "server": nkeys.PREFIX_BYTE_SERVER,
    "cluster": nkeys.PREFIX_BYTE_CLUSTER,
}


def _sealed() -> str:
    public = IntakeOpener(X25519PrivateKey.generate()).intake_key.public_key
    return seal_key(public, "acme", "custom", "https://llm.example.com", Secret("a-key"))


CREDENTIALS = {
    "client token": (client_token.mint().reveal(), "a client token"),
    "cut client token": (client_token.mint().reveal()[:20], "a client token"),
    "test token": ("kf_test_" + "0" * 46, "a client token"),
    "operator's token": ("kf_operator_x", "the operator's token"),
    "sealed key": (_sealed(), "a sealed key"),
    "unknown kind": ("kf_robot_0123", "a credential of a Keyferry installation"),
    "database URL": ("postgresql+psycopg://keyferry:secret@127.0.0.1:1/keyferry", "the URL of a database"),
    "NATS URL": ("nats://user:secret@127.0.0.1:4222", "a NATS server"),
    "key id": (ids.new(ids.PROVIDER_KEY), "the id of a key"),
    "token id": (ids.new(ids.CLIENT_TOKEN), "the id of a key, a token"),
    **{
        f"seed of a {kind}": (nkeys.encode_seed(secrets.token_bytes(32), prefix).decode(), "the seed of an nkey")
        for kind, prefix in _PREFIX_BYTES.items()
    },
}


@pytest.mark.parametrize("kind", CREDENTIALS)
@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_credential_of_an_installation_is_no_providers_key(kind: str, provider: str) -> None:
    text, what = CREDENTIALS[kind]
    with pytest.raises(ImplausibleKey, match=f"this looks like .*{what}") as refused:
        check_format(provider, text)
    assert text not in str(refused.value)


def test_a_generated_operators_token_has_its_form(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.prepare()
    text = secret_files.operator_token(home).read_text()
    assert describe_own_credential(text) == "the operator's token of a Keyferry installation"
    assert len(text) >= 50


@pytest.mark.parametrize(
    "text", ["sk-proj-0123", "kf-live-0123", "SUPER-SECRET", "gsk_" + "a" * 26, "key_of_my_server"]
)
def test_other_texts_are_none(text: str) -> None:
    assert describe_own_credential(text) is None
