"""The guide to adding a provider, followed step by step: its recording, its row, their results."""

import json
from pathlib import Path

import pytest

from services.provider_worker.adapters.adapter import RefusedByAdapter
from services.provider_worker.adapters.openai_compatible import providers as compatible
from services.provider_worker.adapters.openai_compatible.adapter import CompatibleAdapter
from services.provider_worker.adapters.openai_compatible.capabilities import ChatCapabilities
from services.provider_worker.adapters.openai_compatible.providers import CompatibleProvider, foreign_extras
from services.provider_worker.adapters.registry import ADAPTERS
from services.provider_worker.providers_page import PAGE, REPOSITORY, render_page
from services.provider_worker.providers_page import main as write_page
from services.provider_worker.replay import __main__ as replay
from tests.support.providers.attempt_runs import attempt_run
from tests.support.repository.documents import Document

GUIDE = Document("docs/guides/adding-a-provider.md")
JsonObject = dict[str, object]


@pytest.fixture
def row() -> CompatibleProvider:
    """The row of the guide, as if it were in the table."""
    [text] = [block.text for block in GUIDE.blocks if block.language == "text"]
    names: dict[str, object] = dict(vars(compatible))
    exec(text, names)
    acme = names["ACME"]
    assert isinstance(acme, CompatibleProvider)
    return acme


@pytest.fixture
def recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The recording of the guide."""
    [text] = [block.text for block in GUIDE.blocks if block.language == "python"]
    monkeypatch.chdir(tmp_path)
    exec(text, {})
    return tmp_path / "acme-stream.json"


def line(output: str) -> JsonObject:
    parsed: JsonObject = json.loads(output)
    return parsed


def test_the_recording_replays_without_a_row_and_with_one(
    recording: Path, row: CompatibleProvider, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert replay.main([str(recording), "--json", "--seed", "1"]) == 0
    before = capsys.readouterr()
    assert "no adapter for 'acme'" in before.err
    monkeypatch.setattr(replay, "ADAPTERS", {**ADAPTERS, row.name: CompatibleAdapter(row)})
    assert replay.main([str(recording), "--json", "--seed", "2"]) == 0
    after = capsys.readouterr()
    assert after.err == ""
    assert line(after.out) == line(before.out)
    result = line(after.out)
    assert (result["text"], result["reasoning_text"], result["finish_reason"], result["error"]) == (
        "Hello",
        "Short.",
        "stop",
        None,
    )
    usage = result["usage"]
    assert isinstance(usage, dict)
    assert (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]) == (9, 4, 13)


def test_the_row_does_what_the_guide_says(row: CompatibleProvider) -> None:
    adapter = CompatibleAdapter(row)
    run = attempt_run(provider="acme", model="acme-1", base_url="https://acme.example/v1")
    body: JsonObject = {"model": "acme-1", "messages": [{"role": "developer", "content": "Be brief."}]}
    request = adapter.request(
        run, json.dumps(body | {"max_completion_tokens": 5, "acme_search": True, "new": 1}).encode()
    )
    assert request.url == "https://acme.example/v1/chat/completions"
    assert json.loads(request.content) == {
        "model": "acme-1",
        "messages": [{"role": "system", "content": "Be brief."}],
        "max_tokens": 5,
        "acme_search": True,
        "new": 1,
    }
    with pytest.raises(RefusedByAdapter) as caught:
        adapter.request(run, json.dumps(body | {"n": 2}).encode())
    assert caught.value.failure.param == "n"


def test_extras_are_sent_to_no_other_provider(row: CompatibleProvider) -> None:
    providers = (*compatible.COMPATIBLE_PROVIDERS, row)
    for other in compatible.COMPATIBLE_PROVIDERS:
        assert ("acme_search" in foreign_extras(other, providers)) == (other.name != "custom")
    assert "acme_search" not in foreign_extras(row, providers)


def test_the_guide_names_every_field_of_a_row() -> None:
    guide = GUIDE.text
    fields = [*compatible.CompatibleProvider.__slots__, *ChatCapabilities.__slots__]
    silent = {"name", "chat", "embeddings_path", "takes_any_extra"}
    assert [field for field in fields if f"`{field}`" not in guide and field not in silent] == []


def test_the_providers_page_is_up_to_date(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (REPOSITORY / PAGE).read_text() == render_page()
    assert write_page(["--check"]) == 0
    (tmp_path / "docs").mkdir()
    assert write_page(["--root", str(tmp_path), "--check"]) == 1
    assert "providers_page" in capsys.readouterr().err
    assert write_page(["--root", str(tmp_path)]) == 0
    assert write_page(["--root", str(tmp_path), "--check"]) == 0


def test_every_provider_is_on_the_page() -> None:
    text = render_page()
    assert [name for name in ADAPTERS if f"Named `{name}`." not in text] == []
