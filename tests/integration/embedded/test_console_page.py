"""The console's page is built when its sources change, by one process at a time, and never half of it is in its place."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.console_page import npm
from deploy.console_page.build import build, is_current, run_script, withdraw_if_stale
from deploy.console_page.errors import PageProblem
from deploy.console_page.sources import PageSources
from services.console.page.files import read_page
from tests.support.page_sources import builds, write_sources
from tests.support.repository.files import ROOT
from tests.support.waiting import until


def silent(_: str) -> None:
    """Show nothing."""


def title(sources: PageSources) -> str:
    return read_page(sources.dist, {}).document.render("n").decode().partition("<title>")[2].partition("<")[0]


def process(sources: PageSources) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "deploy.console_page", "build", *sources.arguments()]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def test_a_page_is_built_again_exactly_when_a_source_has_changed(tmp_path: Path) -> None:
    sources = write_sources(tmp_path)
    said: list[str] = []
    assert not is_current(sources)
    assert build(sources, said.append)
    assert said == ["installing npm's packages for the console's page", "building the console's page"]
    assert title(sources) == "first"
    for path in (sources.web / "src" / "text", sources.openapi):
        os.utime(path, (1, 1))
    (sources.node_modules / "package.js").write_text("changed")
    assert is_current(sources)
    assert not build(sources, said.append)
    assert withdraw_if_stale(sources)
    (sources.web / "src" / "text").write_text("second")
    assert not is_current(sources)
    assert build(sources, said.append)
    assert title(sources) == "second"
    assert said[2:] == ["building the console's page"], "the packages were there"
    changes: dict[str, Callable[[], object]] = {
        "the description of the API": lambda: sources.openapi.write_text('{"paths": {}}'),
        "a new source": lambda: (sources.web / "src" / "more").write_text("x"),
        "its name": lambda: (sources.web / "src" / "more").rename(sources.web / "src" / "other"),
        "its removal": lambda: (sources.web / "src" / "other").unlink(),
        "a package": lambda: (sources.web / "package-lock.json").write_text(
            (sources.web / "package-lock.json").read_text() + "\n"
        ),
    }
    for what, change in changes.items():
        change()
        assert not is_current(sources), what
        assert build(sources, silent), what
        assert is_current(sources), what
    assert builds(sources) == ["first", *["second"] * (len(changes) + 1)]


def test_a_page_of_other_sources_is_taken_away(tmp_path: Path) -> None:
    sources = write_sources(tmp_path)
    assert not withdraw_if_stale(sources), "there is none yet"
    build(sources, silent)
    assert withdraw_if_stale(sources)
    (sources.web / "src" / "text").write_text("second")
    assert not withdraw_if_stale(sources)
    assert not sources.dist.exists()
    assert build(sources, silent)


def test_files_are_compressed_at_the_build(tmp_path: Path) -> None:
    sources = write_sources(tmp_path)
    build(sources, silent)
    [file] = [file for name, file in read_page(sources.dist, {}).files.items() if name == "/assets/app-1.js"]
    assert set(file.encoded) == {"br", "gzip"}
    assert all(len(encoded) < len(file.content) / 10 for encoded in file.encoded.values())
    assert not (sources.dist / "index.html.gz").exists(), "too small to gain from it"


def test_a_build_that_fails_says_why_and_leaves_the_earlier_page(tmp_path: Path) -> None:
    sources = write_sources(tmp_path)
    build(sources, silent)
    (sources.web / "src" / "text").write_text("broken")
    with pytest.raises(PageProblem, match="this source is broken"):
        build(sources, silent)
    assert title(sources) == "first"
    assert not is_current(sources)
    done = process(sources)
    output, _ = done.communicate(timeout=60)
    assert done.returncode == 1
    assert "the console's page: npm run failed" in output
    assert "Traceback" not in output
    (sources.web / "src" / "text").write_text("mended")
    assert build(sources, silent)
    assert title(sources) == "mended"


def test_a_build_that_is_stopped_leaves_no_process_and_nothing_in_its_place(tmp_path: Path) -> None:
    sources = write_sources(tmp_path, "endless")
    building = process(sources)
    until("it is being built", lambda: builds(sources) == ["endless"])
    building.send_signal(signal.SIGTERM)
    building.communicate(timeout=30)
    assert building.returncode != 0
    assert not sources.dist.exists()
    # What it had begun has ended: nothing writes into the folder any more, and nobody holds the lock.
    (sources.web / "src" / "text").write_text("second")
    assert build(sources, silent)
    assert title(sources) == "second"


def test_a_time_limit_ends_everything_that_was_started(tmp_path: Path) -> None:
    sources = write_sources(tmp_path, "endless")
    began = time.monotonic()
    with pytest.raises(PageProblem, match="not finished within 3 s"):
        npm.run(
            sources.web,
            ("run", "--silent", "build", "--", "--outDir", tmp_path / "out"),
            timeout_seconds=3,
            capture=True,
        )
    assert time.monotonic() - began < 30
    assert builds(sources) == ["endless"]


def test_of_two_builds_at_once_one_builds(tmp_path: Path) -> None:
    sources = write_sources(tmp_path)
    running = [process(sources) for _ in range(3)]
    outputs = [each.communicate(timeout=100)[0] for each in running]
    assert [each.returncode for each in running] == [0] * 3, outputs
    assert builds(sources) == ["first"]
    assert sorted("is ready" in output for output in outputs) == [False, False, True]


def test_the_build_sees_no_variable_but_those_that_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "KEYFERRY_OPERATOR_TOKEN_FILE",
        "OPENAI_API_KEY",
        "AWS_SECRET_ACCESS_KEY",
        "OTEL_EXPORTER_OTLP_HEADERS",
    ):
        monkeypatch.setenv(name, "a-secret-of-somebody")
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:9/mirror/")
    sources = write_sources(tmp_path)
    build(sources, silent)
    text = (sources.dist / "environment.json").read_text()
    assert "a-secret-of-somebody" not in text
    assert json.loads(text)["npm_config_registry"] == "http://127.0.0.1:9/mirror/"


def add_dependency(sources: PageSources, name: str, version: str) -> None:
    """Name a package in package.json, but not in the lock file."""
    package = sources.web / "package.json"
    package.write_text(json.dumps({**json.loads(package.read_text()), "dependencies": {name: version}}))


def test_without_the_registry_the_message_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:9/")
    sources = write_sources(tmp_path)
    add_dependency(sources, "some-package", "1.0.0")
    packages = {
        "": {"name": "page", "dependencies": {"some-package": "1.0.0"}},
        "node_modules/some-package": {"version": "1.0.0", "integrity": "sha512-" + "A" * 86 + "=="},
    }
    lock = {"name": "page", "lockfileVersion": 3, "requires": True, "packages": packages}
    (sources.web / "package-lock.json").write_text(json.dumps(lock))
    with pytest.raises(PageProblem, match="set npm_config_registry to a mirror") as caught:
        build(sources, silent)
    assert "ECONNREFUSED" in str(caught.value)
    assert not sources.dist.exists()


def test_a_lock_file_that_does_not_fit_is_named(tmp_path: Path) -> None:
    sources = write_sources(tmp_path)
    (tmp_path / "local").mkdir()
    (tmp_path / "local" / "package.json").write_text('{"name": "local", "version": "1.0.0"}')
    add_dependency(sources, "local", "file:../local")
    with pytest.raises(PageProblem, match=r"package-lock\.json does not fit package\.json: run `npm install`"):
        build(sources, silent)


def test_without_sources_the_message_says_so(tmp_path: Path) -> None:
    with pytest.raises(PageProblem, match="has no sources of the page"):
        build(PageSources(tmp_path, tmp_path / "openapi.json"), silent)
    with pytest.raises(PageProblem, match="has no sources of the page"):
        is_current(PageSources(tmp_path / "nowhere", tmp_path / "openapi.json"))


def test_a_check_that_fails_is_reported(tmp_path: Path) -> None:
    sources = write_sources(tmp_path)
    (sources.web / "check.mjs").write_text("process.exit(0)")
    run_script(sources, "check", silent, timeout_seconds=60)
    (sources.web / "check.mjs").write_text("process.exit(3)")
    with pytest.raises(PageProblem, match="failed with status 3"):
        run_script(sources, "check", silent, timeout_seconds=60)
