"""Messages accept newer versions, commands reject misspellings, and no error repeats a value."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from keyferry.contracts import topology
from keyferry.contracts.envelope import Command, Head, MalformedMessage, Message
from keyferry.contracts.integration_management import (
    WEBHOOK_SECRET_REMOVE,
    WEBHOOK_SECRET_ROTATE,
    WEBHOOK_SECRET_SAVE,
)
from keyferry.contracts.tenancy import CreateTenant, Tenant, Tier
from keyferry.contracts.topology import SUBJECTS, WORKER_PROBE, Role, SubjectKind
from keyferry.contracts.usage import BatchHead

CANARY = "canary-7f3a9c51"


class Sample(Message):
    text: str
    number: int | None = None


class SampleHead(Head):
    text: str


def test_a_message_ignores_fields_of_a_newer_writer() -> None:
    assert Sample.decode(b'{"text": "a", "added_later": {"x": 1}}') == Sample(text="a")


def test_a_command_rejects_unknown_fields() -> None:
    with pytest.raises(MalformedMessage, match="tiers: there is no such field"):
        CreateTenant.decode(b'{"tenant": "acme", "name": "Acme", "tiers": "free"}')


@pytest.mark.parametrize("contract", topology.contracts(), ids=lambda contract: contract.__name__)
def test_every_contract_is_frozen_and_defines_unknown_fields(contract: type[BaseModel]) -> None:
    assert contract.model_config.get("frozen")
    assert contract.model_config.get("extra") == ("forbid" if issubclass(contract, Command) else "ignore")


SENT_FOR_PEOPLE = (WEBHOOK_SECRET_SAVE, WEBHOOK_SECRET_ROTATE, WEBHOOK_SECRET_REMOVE)
"""What the notifier asks of the vault in the name of the person who changes a webhook endpoint."""


def test_management_requests_are_commands_and_everything_else_is_a_message() -> None:
    for subject in SUBJECTS:
        assert issubclass(subject.message, Message)
        managed = (
            subject.kind is SubjectKind.REQUEST and Role.OPERATOR in subject.publishers and subject is not WORKER_PROBE
        ) or subject in SENT_FOR_PEOPLE
        assert issubclass(subject.message, Command) == managed, subject.name
        assert (subject.reply is not None) == (subject.kind is SubjectKind.REQUEST), subject.name
        assert subject.reply is None or not issubclass(subject.reply, Command), subject.name


@given(st.text(), st.none() | st.integers())
def test_a_message_is_encoded_on_one_line_and_decoded_again(text: str, number: int | None) -> None:
    sample = Sample(text=text, number=number)
    wire = sample.encode()
    assert b"\n" not in wire
    assert Sample.decode(wire) == sample


def test_nulls_are_not_encoded() -> None:
    assert json.loads(Sample(text="a").encode()) == {"text": "a"}


@given(st.text(), st.binary())
def test_a_body_is_unchanged(text: str, body: bytes) -> None:
    head = SampleHead(text=text)
    assert SampleHead.split(head.with_body(body)) == (head, body)


@pytest.mark.parametrize(
    "wire", [b"", b"{}", b'{"producer": "w", "count": 1}', b"\n", b"{}\nbody", b"\xff\nbody", b"[]\n"]
)
def test_an_invalid_head_is_rejected(wire: bytes) -> None:
    with pytest.raises(MalformedMessage):
        BatchHead.split(wire)


@pytest.mark.parametrize(
    "wire",
    [
        f'{{"tenant": "acme", "name": "Acme", "tier": "{CANARY}"}}',
        f'{{"tenant": "{CANARY}!", "name": "Acme", "tier": "free"}}',
        f'{{"tenant": "acme", "name": ["{CANARY}"], "tier": "free"}}',
        f'"{CANARY}"',
        f'{{"tenant": "{CANARY}',
    ],
)
def test_an_error_names_the_field_and_not_the_value(wire: str) -> None:
    with pytest.raises(MalformedMessage) as caught:
        Tenant.decode(wire.encode())
    assert CANARY not in str(caught.value)
    assert CANARY not in caught.value.reason
    assert caught.value.__suppress_context__
    assert caught.value.reason


def test_a_message_cannot_be_changed() -> None:
    tenant = Tenant(tenant="acme", name="Acme", tier=Tier.FREE)
    with pytest.raises(ValueError, match="frozen"):
        tenant.name = "Other"  # type: ignore[misc]  # that is the test
