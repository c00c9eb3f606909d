"""What the documents name exists: links, settings, commands, messages. What they tell a reader to type is run in tests/e2e."""

import importlib
import re
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import click
import pytest
from pydantic_settings import BaseSettings

from deploy.embedded.services import DEFAULT_CONSOLE_PORT
from deploy.embedded.system import DEFAULT_HTTP_PORT
from keyferry.cli.installation import HOME_NAME
from keyferry.cli.main import cli
from keyferry.contracts.usage import AttemptRecord, KeySource, Outcome, TokenUsage, UsageSource
from keyferry.pricing.file import PriceList
from services.usage_ledger.pricing import price
from tests.support.repository.documents import (
    PYTHON,
    SHELL,
    SHOWN,
    Document,
    documented_messages,
    documents,
    says,
    service_pages,
    templates,
)
from tests.support.repository.files import ROOT

DOCUMENTS = documents()
OPERATING = Document("docs/guides/operating.md")


@pytest.mark.parametrize("document", [*DOCUMENTS, *service_pages()], ids=lambda document: document.name)
def test_every_link_leads_somewhere(document: Document) -> None:
    for link in document.links:
        file, _, anchor = link.partition("#")
        target = (document.path.parent / file).resolve() if file else document.path
        assert target.exists(), f"{document.name} links to {link}"
        if anchor:
            assert anchor in Document(str(target.relative_to(ROOT))).anchors, f"{document.name} links to {link}"


def test_every_guide_and_page_is_in_the_index() -> None:
    index = Document("docs/README.md")
    linked = {(index.path.parent / link.partition("#")[0]).resolve() for link in index.links}
    pages = {path for path in (ROOT / "docs").rglob("*.md") if path != index.path}
    decisions = {path for path in pages if path.parent.name == "decisions" and path.name != "README.md"}
    assert pages - decisions <= linked


def test_every_service_is_introduced() -> None:
    pages = {path.parent / "README.md" for path in (ROOT / "services").glob("*/app.py")}
    for name in ("docs/README.md", "docs/architecture/overview.md"):
        document = Document(name)
        linked = {(document.path.parent / link).resolve() for link in document.links}
        assert pages <= linked, f"{name} does not link {[str(page) for page in pages - linked]}"


def service_defaults() -> dict[str, str]:
    """Every variable of every service, with its default as the documents write it."""
    found: dict[str, str] = {}
    for file in sorted((ROOT / "services").glob("*/settings.py")):
        module = importlib.import_module(f"services.{file.parent.name}.settings")
        for kind in vars(module).values():
            if isinstance(kind, type) and issubclass(kind, BaseSettings):
                for name, field in kind.model_fields.items():
                    default = None if field.is_required() else field.get_default(call_default_factory=True)
                    found[f"KEYFERRY_{name.upper()}"] = shown(default)
    return found


def shown(value: object) -> str:
    if value is None or value in ((), frozenset(), {}):
        return "none"
    return f"`{value.relative_to(ROOT) if isinstance(value, Path) else value}`"


def known_defaults() -> dict[str, str]:
    """The services', and those that only the launcher and the command line read."""
    own = {
        "KEYFERRY_HOME": shown(HOME_NAME),
        "KEYFERRY_DEBUG": "none",
        "KEYFERRY_CONSOLE_PORT": shown(DEFAULT_CONSOLE_PORT),
    }
    read = {
        name for text in templates("deploy", "shared/keyferry") for name in re.findall(r"KEYFERRY_[A-Z_]*[A-Z]", text)
    }
    services = service_defaults()
    assert read - services.keys() == own.keys(), (
        "a variable that only the launcher or the command line reads has no default here"
    )
    return services | own


def test_the_settings_table_is_whole_and_has_the_real_defaults() -> None:
    table = {row["variable"].strip("`"): row["default"] for row in OPERATING.rows("variable")}
    assert table == known_defaults()
    assert table["KEYFERRY_HTTP_PORT"] == shown(DEFAULT_HTTP_PORT)


def test_no_document_names_a_variable_that_nobody_reads() -> None:
    known = known_defaults().keys()
    for document in [*DOCUMENTS, *service_pages()]:
        named = set(re.findall(r"KEYFERRY_[A-Z_]*[A-Z]", document.text))
        assert named <= known, f"{document.name} names {sorted(named - known)}"


def keyferry_commands() -> Iterator[tuple[str, list[str]]]:
    for document in DOCUMENTS:
        for command in document.typed:
            detail = command.split()
            if detail and detail[0] == "keyferry" and len(detail) > 1:
                yield document.name, detail[1:]


def test_every_command_of_keyferry_that_is_named_exists_with_its_options() -> None:
    for where, detail in keyferry_commands():
        group: click.Command = cli
        rest = list(detail)
        while isinstance(group, click.Group) and rest and not rest[0].startswith("-"):
            found = group.get_command(click.Context(group), rest.pop(0))
            assert found is not None, f"{where}: there is no `keyferry {' '.join(detail)}`"
            group = found
        options = {name for parameter in group.params for name in (*parameter.opts, *parameter.secondary_opts)}
        unknown = {word for word in rest if re.fullmatch(r"--[a-z-]+", word)} - options - {"--help", "--version"}
        assert not unknown, f"{where}: `keyferry {' '.join(detail)}` has no {unknown}"


def test_every_command_of_keyferry_is_documented() -> None:
    named = {detail[0] for _, detail in keyferry_commands()}
    assert set(cli.list_commands(click.Context(cli))) <= named


def test_every_make_target_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for document in DOCUMENTS:
        indented = re.findall(r"^    (make .*)$", document.text, re.MULTILINE)
        named = {m[1] for command in [*document.typed, *indented] if (m := re.search(r"\bmake ([a-z-]+)", command))}
        assert named <= targets, f"{document.name} names {named - targets}"


def test_price_files_can_be_used_as_they_stand() -> None:
    files = [b.text for d in DOCUMENTS for b in d.blocks if b.language == "toml"]
    assert files
    for text in files:
        prices = PriceList.parse(text)
        for row in tomllib.loads(text, parse_float=Decimal)["price"]:
            found = price(attempt(row["provider"], row["model"]), prices)
            assert found.pricing == "priced"
            assert found.cost_usd == (row["input"] + row["output"]) / 1_000_000


def attempt(provider: str, model: str) -> AttemptRecord:
    """One token in, one out."""
    return AttemptRecord(
        attempt_id="att_1", request_id="req_1", decision_id="dec_1", attempt_number=1, tenant="demo", provider=provider,
        model_asked=model, model=model, key_source=KeySource.CUSTOM, stream=False, outcome=Outcome.COMPLETED,
        token_usage=TokenUsage(input=1, output=1), usage_source=UsageSource.REPORTED, started_at=datetime(2026, 6, 1, tzinfo=UTC),
        latency_ms=1, worker_id="provider-worker-1", spool_seq=1,
    )  # fmt: skip


def test_every_test_that_a_document_names_exists() -> None:
    found = {path: path.read_text() for path in (ROOT / "tests").rglob("test_*.py")}
    for document in DOCUMENTS:
        for span in document.spans:
            file, _, function = span.partition("::")
            if file.startswith("tests/"):
                assert (ROOT / file).exists(), f"{document.name} names {file}"
            elif re.fullmatch(r"test_\w+", span):
                function = span
            named = re.compile(rf"\bdef {function}\(")
            assert not function or any(named.search(text) for text in found.values()), f"{document.name}: {span}"


def test_every_documented_message_is_one_that_the_code_has() -> None:
    known = [*templates("deploy", "services", "shared/keyferry"), (ROOT / "Makefile").read_text()]
    gone = [row["message"] for row in documented_messages() if not any(says(text, row["message"]) for text in known)]
    assert not gone, f"nobody says this any more: {gone}"


def test_every_block_has_a_language_that_says_whether_it_is_run() -> None:
    unclear = [b.where for d in DOCUMENTS for b in d.blocks if b.language not in SHELL | PYTHON | SHOWN]
    assert not unclear, f"give these blocks one of {sorted(SHELL | PYTHON | SHOWN)}: {unclear}"
