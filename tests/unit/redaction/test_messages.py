"""A secret in the wrong place of a message is refused without being repeated, whatever the contract and the field."""

from collections.abc import Iterator

import orjson
import pytest
from pydantic import BaseModel, SecretStr, ValidationError

from keyferry.contracts.envelope import MalformedMessage, Message, describe
from keyferry.contracts.key import AddKey
from keyferry.contracts.topology import SUBJECTS

KEY = "sk-canary-Zq8Xw2Lr6Tn0Vb4Kd"
MISPLACED: tuple[object, ...] = (KEY, [KEY], {KEY: KEY}, {"a": KEY}, {KEY: 1}, [{KEY: KEY}])


def contracts(model: type[Message] = Message) -> Iterator[type[Message]]:
    for child in model.__subclasses__():
        yield child
        yield from contracts(child)


CONTRACTS = sorted(set(contracts()), key=lambda contract: contract.__name__)


def test_every_message_of_the_bus_is_among_them() -> None:
    assert {subject.message for subject in SUBJECTS if issubclass(subject.message, Message)} <= set(CONTRACTS)


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda contract: contract.__name__)
def test_a_misplaced_secret_is_refused_without_being_repeated(contract: type[Message]) -> None:
    misplaced = [{name: value} for name in contract.model_fields for value in MISPLACED]
    for document in [*misplaced, {KEY: KEY}, [KEY], KEY]:
        try:
            contract.decode(orjson.dumps(document))
        except MalformedMessage as error:
            assert KEY not in f"{error} {error!r} {error.reason} {error.args}", document  # noqa: PT017


def test_the_cause_is_still_shown() -> None:
    with pytest.raises(MalformedMessage) as refused:
        AddKey.decode(b'{"tenant":"acme","labell":"x","monthly_limit_usd":"12,50","fields":{"region1":7}}')
    assert "labell: there is no such field" in refused.value.reason
    assert "monthly_limit_usd: this is not an amount of money" in refused.value.reason
    assert "fields.…: it should be a text" in refused.value.reason
    assert "provider: this is required" in refused.value.reason


def test_the_library_alone_would_repeat_it() -> None:
    """The negative case, with pydantic's own secret type: the text of the error has it, and so have its details."""

    class Naive(BaseModel):
        key: SecretStr
        other: int

    with pytest.raises(ValidationError) as caught:
        Naive.model_validate_json(orjson.dumps({"key": KEY}))
    assert KEY in str(caught.value)
    assert KEY in str(caught.value.errors())
    assert KEY not in describe(caught.value)
