"""The file of qualities: strict, dated, and with an entry for every chat model of the catalog."""

import pytest

from keyferry.contracts.catalog import Capability
from services.router.power.quality import InvalidQuality, Kind, read_quality
from tests.support.router.keys_and_prices import catalog
from tests.support.router.power import quality

SOURCE = 'reviewed = 2026-11-29\n[[sources]]\nid = "a"\ntitle = "A"\nurl = "https://a.example"\ndate = 2026-01-01\n'
SCALE = "zero = 0\nhundred = 200\n"
MODEL = '[[models]]\nid = "m"\n'


def test_every_chat_model_of_the_catalog_has_an_entry() -> None:
    chats = {model.id for model in catalog() if Capability.CHAT in model.capabilities}
    assert chats <= set(quality())


def test_scores_lie_on_the_scale_of_their_source() -> None:
    second = SOURCE.split("\n", 1)[1].replace('"a"', '"b"') + "zero = 0\nhundred = 100\n"
    text = SOURCE + SCALE + second + MODEL + "general = { a = 150, b = 80 }\ncode = { a = 250 }\n"
    found = read_quality(text).of("m")
    assert found.of(Kind.GENERAL) == 78
    assert found.of(Kind.CODE) == 100
    assert found.of(Kind.VISION) == 78


def test_unknown_models_say_why() -> None:
    table = read_quality(SOURCE + SCALE + MODEL + 'unknown = "too new"\n')
    assert (table.of("m").of(Kind.CODE), table.of("m").unknown) == (None, "too new")
    assert table.of("other").of(Kind.GENERAL) is None
    assert table.of("other").unknown


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "reviewed"),
        ("reviewed = ", "not TOML"),
        (SOURCE + SCALE, "models"),
        (SOURCE + SCALE + MODEL, "needs a general figure"),
        (SOURCE + SCALE + MODEL + "code = { a = 1 }\n", "needs a general figure"),
        (SOURCE + SCALE + MODEL + 'general = { a = 1 }\nunknown = "x"\n', "one of the two"),
        (SOURCE + SCALE + MODEL + "general = { b = 1 }\n", "not among the sources"),
        (SOURCE + SCALE + MODEL + "general = {}\n", "general"),
        (SOURCE + SCALE + MODEL + "general = { a = nan }\n", "general"),
        (SOURCE + SCALE + MODEL + "general = { a = inf }\n", "general"),
        (SOURCE + SCALE + MODEL + "general = { a = 1e300 }\n", "general"),
        (SOURCE + SCALE + MODEL + 'general = { a = "1" }\n', "general"),
        (SOURCE + SCALE + MODEL + "general = { a = true }\n", "general"),
        (SOURCE + SCALE + MODEL + "general = 1\n", "general"),
        (SOURCE + SCALE + MODEL + "generel = { a = 1 }\n", "generel"),
        (SOURCE + SCALE + MODEL + "general = { a = 1 }\n" + MODEL + "general = { a = 1 }\n", "listed twice"),
        (SOURCE + SCALE + SOURCE.split("\n", 1)[1] + SCALE + MODEL + "general = { a = 1 }\n", "listed twice"),
        (SOURCE + "zero = 5\nhundred = 5\n" + MODEL + "general = { a = 1 }\n", "zero must be less"),
        (SOURCE.replace("2026-01-01", "2027-01-01") + SCALE + MODEL + "general = { a = 1 }\n", "after the review"),
        (SOURCE.replace("2026-01-01", '"2026-01-01"') + SCALE + MODEL + "general = { a = 1 }\n", "date"),
        (SOURCE + SCALE + '[[models]]\nid = "a b"\ngeneral = { a = 1 }\n', "id"),
        (SOURCE + SCALE + '[[models]]\nid = "a\\u0000"\ngeneral = { a = 1 }\n', "id"),
    ],
)
def test_faults_are_named(text: str, fault: str) -> None:
    with pytest.raises(InvalidQuality, match=fault):
        read_quality(text)
