"""What is accepted as an internal service's name, keys and operations."""

import base64

import pytest
from pydantic import ValidationError

from keyferry.contracts.internal_services import CreateInternalService, raw_grant_key, raw_nkey
from tests.support.internal_services import create_command, new_grant_key, new_nkey

VALID = create_command().model_dump()
SECRET_LIKE = "sk-proj-" + "aB3" * 16


def wrong_nkeys() -> dict[str, str]:
    """Return texts that the NATS server would refuse in its configuration, and others, by what is wrong with them."""
    key = new_nkey()
    other = "A" if key[20] != "A" else "B"
    account = base64.b32encode(b"\x00" + base64.b32decode(key)[1:]).decode()
    return {
        "empty": "",
        "too short": key[:-1],
        "too long": key + "A",
        "lower case": key.lower(),
        "changed": key[:20] + other + key[21:],
        "of an account": account,
        "a seed": "S" + key[1:],
        "NUL": f"{key}\x00",
        "line break": f"{key}\n",
        "not base32": "U" + "1" * 55,
        "a secret": SECRET_LIKE,
    }


# The keys differ from run to run, and the names of tests must not.
WRONG_NKEYS = wrong_nkeys()


@pytest.mark.parametrize("text", WRONG_NKEYS.values(), ids=WRONG_NKEYS.keys())
def test_a_malformed_nkey_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(ValidationError) as caught:
        CreateInternalService.model_validate(VALID | {"nkey_public": text})
    assert [error["loc"] for error in caught.value.errors()] == [("nkey_public",)]
    assert not text or text not in str(caught.value.errors(include_input=False))


def test_the_key_in_an_nkey_is_the_one_that_was_encoded() -> None:
    text = new_nkey()
    assert raw_nkey(text) == base64.b32decode(text)[1:33]
    assert len(raw_grant_key(new_grant_key())) == 32


@pytest.mark.parametrize(
    "text", ["", "A" * 42, "A" * 44, "A" * 42 + "=", "A" * 42 + "B", "A" * 42 + "+", "A" * 42 + "\n"]
)
def test_a_malformed_grant_key_is_refused(text: str) -> None:
    with pytest.raises(ValidationError, match="grant_public_key"):
        CreateInternalService.model_validate(VALID | {"grant_public_key": text})


@pytest.mark.parametrize(
    "name",
    ["", "Crm", "a.b", "a b", "-a", "a-", "*", ">", "a\x00", "a\n", "é", "a" * 64, "\ud800", "a" * 4 + SECRET_LIKE],
)
def test_a_name_is_one_token_of_a_subject(name: str) -> None:
    with pytest.raises(ValidationError, match="name"):
        CreateInternalService.model_validate(VALID | {"name": name})


@pytest.mark.parametrize("operations", [[], ["a b"], ["a\x00"], [SECRET_LIKE], ["x"] * 101, ["x" * 65]])
def test_operations_are_bounded_names(operations: list[str]) -> None:
    with pytest.raises(ValidationError, match="operations"):
        CreateInternalService.model_validate(VALID | {"operations": operations})


def test_a_command_with_valid_keys_is_accepted() -> None:
    assert CreateInternalService.decode(create_command(operations=["chat", "lead.write"]).encode()).operations == [
        "chat",
        "lead.write",
    ]
