import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyferry.contracts.key import KeyTest
from services.provider_worker.key_test.listing import MAX_MODELS, first_chat_model, read_models


@pytest.mark.parametrize(
    ("body", "names"),
    [
        (b'{"object":"list","data":[{"id":"gpt-4o"},{"id":"gpt-4o-mini"}]}', ["gpt-4o", "gpt-4o-mini"]),
        (b'{"models":[{"name":"models/gemini-2.5-flash"}]}', ["gemini-2.5-flash"]),
        (b'{"models":[{"name":"command-r"}]}', ["command-r"]),
        (b' [{"id":"meta-llama/Llama-3"},{"id":"b"}] ', ["meta-llama/Llama-3", "b"]),
        (b'{"data":["a","b","a"]}', ["a", "b"]),
        (b'{"data":[]}', []),
        (b'{"data":[{"id":"has space"},{"id":"new\\nline"},{"id":""},{"id":7},7,null,{"id":null,"name":"b"}]}', ["b"]),
        ('{"data":[{"id":"zwölf"},{"id":"ok"}]}'.encode(), ["ok"]),
        (b'{"data":[{"id":"' + b"x" * 201 + b'"},{"id":"' + b"x" * 200 + b'"}]}', ["x" * 200]),
    ],
)
def test_three_shapes_of_lists_are_read(body: bytes, names: list[str]) -> None:
    assert [model.name for model in read_models(body) or []] == names


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"{}",
        b"7",
        b'{"error":{"message":"no"}}',
        b'{"data":{}}',
        b"<html>",
        b"[" * 100_000,
        b" " * 5_000_000,
    ],
)
def test_other_bodies_are_not_lists(body: bytes) -> None:
    assert read_models(body) is None


def test_a_list_is_read_up_to_the_contracts_limit() -> None:
    models = read_models(orjson.dumps({"data": [{"id": f"m{number}"} for number in range(3 * MAX_MODELS)]}))
    assert models is not None
    assert len(models) == MAX_MODELS == KeyTest.model_json_schema()["properties"]["models"]["maxItems"]


@pytest.mark.parametrize(
    ("body", "chosen"),
    [
        (b'{"data":[{"id":"text-embedding-3-small"},{"id":"whisper-1"},{"id":"gpt-4o"}]}', "gpt-4o"),
        (
            (
                b'{"models":[{"name":"models/aqa","supportedGenerationMethods":["generateAnswer"]},'
                b'{"name":"models/g","supportedGenerationMethods":["generateContent"]}]}'
            ),
            "g",
        ),
        (b'{"models":[{"name":"e","endpoints":["embed"]},{"name":"c","endpoints":["chat"]}]}', "c"),
        (b'[{"id":"flux","type":"image"},{"id":"llama","type":"chat"}]', "llama"),
        (
            b'{"data":[{"id":"o","capabilities":{"completion_chat":false}},{"id":"m","capabilities":{"completion_chat":true}}]}',
            "m",
        ),
        (b'{"data":[{"id":"text-embedding-3-small"}]}', None),
        (b'{"data":[]}', None),
    ],
)
def test_a_chat_model_is_chosen(body: bytes, chosen: str | None) -> None:
    assert first_chat_model(read_models(body) or []) == chosen


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text() | st.sampled_from(["chat", "models/x", "a/b"]),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.sampled_from(["data", "models", "id", "name", "type", "endpoints"]) | st.text(), inner)
    ),
)


@given(
    st.binary() | _JSON.map(lambda value: orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS) if _can(value) else b"x")
)
def test_nothing_raises_and_every_name_fits_the_contract(body: bytes) -> None:
    models = read_models(body)
    first_chat_model(models or [])
    assert all(model.name.isascii() and model.name.isprintable() for model in models or [])


def _can(value: object) -> bool:
    try:
        orjson.dumps(value)
    except TypeError:  # lone surrogates
        return False
    return True
