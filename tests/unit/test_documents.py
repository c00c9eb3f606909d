"""Everything the documents name exists: links, settings, commands, files, messages. Their commands are run in tests/e2e."""

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
    contains_message,
    documented_messages,
    documents,
    service_pages,
    templates,
)
from tests.support.repository.files import ROOT

DOCUMENTS = documents()
OPERATING = Document("docs/guides/operating.md")
CONTRIBUTING = Document("CONTRIBUTING.md")


@pytest.mark.parametrize("document", [*DOCUMENTS, *service_pages()], ids=lambda document: document.name)
def test_every_link_has_a_target(document: Document) -> None:
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


def test_every_service_is_linked() -> None:
    pages = {path.parent / "README.md" for path in (ROOT / "services").glob("*/app.py")}
    for name in ("docs/README.md", "docs/architecture/overview.md"):
        document = Document(name)
        linked = {(document.path.parent / link).resolve() for link in document.links}
        assert pages <= linked, f"{name} does not link {[str(page) for page in pages - linked]}"


@pytest.mark.parametrize("page", service_pages(), ids=lambda page: page.name)
def test_a_service_names_the_figures_of_its_own_that_the_table_has(page: Document) -> None:
    service = page.path.parent.name.replace("_", " ")
    table = (ROOT / "docs" / "guides" / "metrics.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| \w+ \|[^|]*\| ([^|]+) \|", table, re.MULTILINE)
    own = [metric for metric, of in rows if service in of.split(", ")]
    shown = re.search(r"^\*\*Shows\*\* on its \[operations port\]\([^)]+\) (.+)$", page.text, re.MULTILINE)
    assert shown is not None, page.name
    assert re.findall(r"`(\w+)`", shown[1]) == own


def test_every_path_in_the_contribution_guide_exists() -> None:
    paths = {span for span in CONTRIBUTING.spans if "/" in span and " " not in span}
    assert not [path for path in sorted(paths) if not (ROOT / path).exists()]


ANSWERS = list(CONTRIBUTING.rows("question"))


def test_the_contribution_guide_names_what_ci_runs() -> None:
    ran = re.findall(r"^ *(?:make|run_tests) ([a-z-]+)$", (ROOT / ".ci" / "run").read_text(), re.MULTILINE)
    sentence = re.search(r"^CI runs exactly ([^;]*);", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)
    assert sentence is not None
    assert re.findall(r"`make ([a-z-]+)`", sentence[1]) == ran
    assert ran[-1] == "test", "the last line is pytest's summary of it"


def test_the_contribution_guide_answers_common_questions() -> None:
    assert len(ANSWERS) >= 10


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: answer["name"].strip("`"))
def test_every_answer_names_something_in_its_file(answer: dict[str, str]) -> None:
    path, name = ROOT / answer["file"].strip("`"), answer["name"].strip("`")
    assert path.is_file(), f"{answer['question']} {path} does not exist"
    assert re.search(rf"\b{re.escape(name)}\b", path.read_text()), f"{answer['question']} {path} has no {name}"


def described_folders() -> Iterator[str]:
    """Yield the folders in the source tree of the overview, which is indented by two spaces per level."""
    [tree] = [block.text for block in Document("docs/architecture/overview.md").blocks if block.language == "text"]
    parents: list[str] = []
    for line in tree.splitlines():
        name = line.split()[0]
        level = (len(line) - len(line.lstrip())) // 2
        parents[level:] = [name]
        yield "".join(parents)


def source_folders() -> set[str]:
    """Return all folders with product code."""
    folders = set()
    for top in ("services", "shared/keyferry", "deploy"):
        for path in (ROOT / top).rglob("*.py"):
            folder = path.parent.relative_to(ROOT)
            if "migrations" not in folder.parts:
                folders |= {f"{parent.as_posix()}/" for parent in [folder, *folder.parents[:-1]]}
    return folders


def test_the_overview_has_the_whole_source_tree() -> None:
    described = list(described_folders())
    assert not [folder for folder in described if not (ROOT / folder).is_dir()]
    assert source_folders() <= set(described), sorted(source_folders() - set(described))


def service_defaults() -> dict[str, str]:
    """Return every variable of every service with its default as the documents show it."""
    found: dict[str, str] = {}
    for file in sorted((ROOT / "services").glob("*/settings.py")):
        module = importlib.import_module(f"services.{file.parent.name}.settings")
        for kind in vars(module).values():
            if isinstance(kind, type) and issubclass(kind, BaseSettings):
                for name, field in kind.model_fields.items():
                    default = None if field.is_required() else field.get_default(call_default_factory=True)
                    found[f"KEYFERRY_{name.upper()}"] = format_default(default)
    return found


def format_default(value: object) -> str:
    if value is None or value in ((), frozenset(), {}):
        return "none"
    if isinstance(value, dict):
        value = ",".join(f"{name}={meaning}" for name, meaning in value.items())
    elif isinstance(value, frozenset):
        value = ",".join(sorted(value))
    return f"`{value.relative_to(ROOT) if isinstance(value, Path) else value}`"


def known_defaults() -> dict[str, str]:
    """Return the services' defaults, and those that only the launcher and the command line read."""
    own = {
        "KEYFERRY_HOME": format_default(HOME_NAME),
        "KEYFERRY_DEBUG": "none",
        "KEYFERRY_URL": "none",
        "KEYFERRY_BUILD_PAGE": "`1`",
        "KEYFERRY_BACKUP_RECIPIENTS": "none",
        "KEYFERRY_BILLING": "none",
        "KEYFERRY_NATS_REPLICAS": "`1`",
        "KEYFERRY_CONSOLE_PORT": format_default(DEFAULT_CONSOLE_PORT),
    }
    read = {
        name for text in templates("deploy", "shared/keyferry") for name in re.findall(r"KEYFERRY_[A-Z_]*[A-Z]", text)
    }
    services = service_defaults()
    assert read - services.keys() == own.keys(), (
        "a variable that only the launcher or the command line reads has no default here"
    )
    return services | own


def test_the_settings_table_is_complete_and_has_the_real_defaults() -> None:
    table = {row["variable"].strip("`"): row["default"] for row in OPERATING.rows("variable")}
    assert table == known_defaults()
    assert table["KEYFERRY_HTTP_PORT"] == format_default(DEFAULT_HTTP_PORT)


def test_every_variable_in_a_document_is_read_somewhere() -> None:
    of_compose = set(re.findall(r"\$\{(KEYFERRY_[A-Z_]*[A-Z])", (ROOT / "docker-compose.yml").read_text()))
    known = known_defaults().keys() | of_compose
    for document in [*DOCUMENTS, *service_pages()]:
        if document.name == "CHANGELOG.md":
            continue  # it also names the settings that were replaced
        named = set(re.findall(r"KEYFERRY_[A-Z_]*[A-Z]", document.text))
        assert named <= known, f"{document.name} names {sorted(named - known)}"


def keyferry_commands() -> Iterator[tuple[str, list[str]]]:
    for document in DOCUMENTS:
        for command in document.typed:
            detail = command.split()
            if detail and detail[0] == "keyferry" and len(detail) > 1:
                yield document.name, detail[1:]


def test_every_documented_command_exists_with_its_options() -> None:
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


def test_every_documented_make_target_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for document in DOCUMENTS:
        indented = re.findall(r"^    (make .*)$", document.text, re.MULTILINE)
        named = {m[1] for command in [*document.typed, *indented] if (m := re.search(r"\bmake ([a-z-]+)", command))}
        assert named <= targets, f"{document.name} names {named - targets}"


def test_price_files_are_valid() -> None:
    files = [b.text for d in DOCUMENTS for b in d.blocks if b.language == "toml"]
    assert files
    for text in files:
        prices = PriceList.parse(text)
        for row in tomllib.loads(text, parse_float=Decimal)["price"]:
            found = price(attempt(row["provider"], row["model"]), prices)
            assert found.pricing == "priced"
            assert found.cost_usd == (row["input"] + row["output"]) / 1_000_000


def attempt(provider: str, model: str) -> AttemptRecord:
    """Return an attempt with one token in and one out."""
    return AttemptRecord(
        attempt_id="att_1", request_id="req_1", decision_id="dec_1", attempt_number=1, tenant="demo", provider=provider,
        model_asked=model, model=model, key_source=KeySource.CUSTOM, stream=False, outcome=Outcome.COMPLETED,
        token_usage=TokenUsage(input=1, output=1), usage_source=UsageSource.REPORTED, started_at=datetime(2026, 6, 1, tzinfo=UTC),
        latency_ms=1, worker_id="provider-worker-1", spool_seq=1,
    )  # fmt: skip


def test_every_documented_test_exists() -> None:
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


def test_every_documented_message_is_in_the_code() -> None:
    known = [*templates("deploy", "services", "shared/keyferry"), (ROOT / "Makefile").read_text()]
    gone = [
        row["message"]
        for row in documented_messages()
        if not any(contains_message(text, row["message"]) for text in known)
    ]
    assert not gone, f"not in the code any more: {gone}"


def test_every_block_has_a_language_that_decides_whether_it_is_run() -> None:
    unclear = [b.where for d in DOCUMENTS for b in d.blocks if b.language not in SHELL | PYTHON | SHOWN]
    assert not unclear, f"give these blocks one of {sorted(SHELL | PYTHON | SHOWN)}: {unclear}"
