"""A secret's text is available only through `reveal`."""

import copy
import dataclasses
import io
import json
import logging
import marshal
import pickle
import pprint
import traceback
from collections.abc import Callable

import orjson
import pytest
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import PydanticSerializationError

from keyferry.contracts.secret import Secret
from keyferry.runtime.process.logs import JsonFormatter

CANARY = "canary-7f3a9c51"


@dataclasses.dataclass
class Holder:
    secret: Secret


class Model(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)
    secret: Secret


class Numbers(BaseModel):
    number: int


def rejected_input() -> str:
    with pytest.raises(ValidationError) as caught:
        Numbers.model_validate({"number": Secret(CANARY)})
    return f"{caught.value} {caught.value.errors()} {caught.value!r}"


def traceback_with_locals() -> str:
    def fails(secret: Secret) -> None:
        raise RuntimeError("failed with", secret)

    try:
        fails(Secret(CANARY))
    except RuntimeError as error:
        return "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    raise AssertionError


def logged(formatter: logging.Formatter) -> str:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    logger = logging.Logger("test")
    logger.addHandler(handler)
    secret = Secret(CANARY)
    logger.error("%s %r %s", secret, secret, [secret], extra={"secret": secret, "held": {"in": secret}})
    return stream.getvalue()


SHOWN: dict[str, Callable[[], str]] = {
    "repr": lambda: repr(Secret(CANARY)),
    "str": lambda: str(Secret(CANARY)),
    "format": lambda: format(Secret(CANARY), ">40"),
    "f-string": lambda: f"{Secret(CANARY)} {Secret(CANARY)!r} {Secret(CANARY)!s} {Secret(CANARY):>40}",
    "percent": lambda: "%s %r" % (Secret(CANARY), Secret(CANARY)),  # noqa: UP031  # the old way has to be safe too
    "in a list": lambda: str([Secret(CANARY)]),
    "pprint": lambda: pprint.pformat({"a": Secret(CANARY)}),
    "in a dataclass": lambda: repr(Holder(Secret(CANARY))),
    "in a model": lambda: repr(Model(secret=Secret(CANARY))) + str(Model(secret=Secret(CANARY)).model_dump()),
    "json with a default": lambda: json.dumps({"a": Secret(CANARY)}, default=str),
    "orjson with a default": lambda: orjson.dumps({"a": Secret(CANARY)}, default=repr).decode(),
    "rejected input": rejected_input,
    "traceback": traceback_with_locals,
    "plain log": lambda: logged(logging.Formatter()),
    "our log": lambda: logged(JsonFormatter("test")),
    "slots": lambda: str(getattr(Secret(CANARY), "__dict__", "")),
}

REFUSED: dict[str, tuple[type[Exception], Callable[[], object]]] = {
    "json": (TypeError, lambda: json.dumps({"a": Secret(CANARY)})),
    "orjson": (TypeError, lambda: orjson.dumps(Secret(CANARY))),
    "pickle": (TypeError, lambda: pickle.dumps(Secret(CANARY))),
    "old pickle": (TypeError, lambda: pickle.dumps(Secret(CANARY), protocol=0)),
    "pickle in a container": (TypeError, lambda: pickle.dumps([Holder(Secret(CANARY))])),
    "marshal": (ValueError, lambda: marshal.dumps(Secret(CANARY))),  # type: ignore[arg-type]  # that is the test
    "copy": (TypeError, lambda: copy.copy(Secret(CANARY))),
    "deepcopy": (TypeError, lambda: copy.deepcopy([Secret(CANARY)])),
    "asdict": (TypeError, lambda: dataclasses.asdict(Holder(Secret(CANARY)))),
    "model to json": (PydanticSerializationError, lambda: Model(secret=Secret(CANARY)).model_dump_json()),
    "vars": (TypeError, lambda: vars(Secret(CANARY))),
    "hash": (TypeError, lambda: hash(Secret(CANARY))),
    "bytes": (TypeError, lambda: bytes(Secret(CANARY))),  # type: ignore[call-overload]  # that is the test
    "iteration": (TypeError, lambda: list(Secret(CANARY))),  # type: ignore[call-overload]  # that is the test
    "length": (TypeError, lambda: len(Secret(CANARY))),  # type: ignore[arg-type]  # that is the test
    "join": (TypeError, lambda: "".join([Secret(CANARY)])),  # type: ignore[list-item]  # that is the test
}


@pytest.mark.parametrize("show", SHOWN.values(), ids=SHOWN)
def test_text_forms_do_not_contain_the_secret(show: Callable[[], str]) -> None:
    assert CANARY not in show()


@pytest.mark.parametrize(("error", "leak"), REFUSED.values(), ids=REFUSED)
def test_copies_of_the_secret_are_refused(error: type[Exception], leak: Callable[[], object]) -> None:
    with pytest.raises(error) as caught:
        leak()
    assert CANARY not in str(caught.value)


def test_reveal_returns_the_secret() -> None:
    assert Secret(CANARY).reveal() == CANARY


def test_secrets_compare_by_content_and_never_equal_a_text() -> None:
    assert Secret(CANARY) == Secret(CANARY)
    assert Secret(CANARY) != Secret(CANARY + "x")
    assert Secret(CANARY) != CANARY
