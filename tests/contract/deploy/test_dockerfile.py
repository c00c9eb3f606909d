"""The image contains what the services need and nothing else, and runs them as an unprivileged user."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from deploy.embedded.services import SERVICES
from tests.contract.deploy.composition import ROOT, containers
from tests.support.repository.files import repository_files

_TEXT = (ROOT / "deploy" / "docker" / "Dockerfile").read_text()
STEPS = [
    (word, rest)
    for word, _, rest in (
        line.partition(" ") for line in re.sub(r"\\\n\s*", "", _TEXT).splitlines() if line and not line.startswith("#")
    )
]

MIRRORS = ("PIP_INDEX_URL", "UV_DEFAULT_INDEX", "npm_config_registry")
"""Arguments of the build that name mirrors of package registries, without defaults."""


def arguments(word: str) -> list[str]:
    return [rest for step, rest in STEPS if step == word]


def copied() -> list[tuple[list[str], str]]:
    """Return the sources and targets of files copied from the repository."""
    return [(rest.split()[:-1], rest.split()[-1]) for rest in arguments("COPY") if not rest.startswith("--from")]


def ignored(path: str) -> bool:
    """Return whether .dockerignore excludes this file; as in Docker, the last matching line decides."""
    out = False
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        pattern, keep = line.removeprefix("!"), line.startswith("!")
        if "/" in pattern.removeprefix("**/"):
            out = not keep if path == pattern else out
            continue
        if any(
            Path(part).match(pattern.removeprefix("**/")) for part in _parts(path, anywhere=pattern.startswith("**/"))
        ):
            out = not keep
    return out


def _parts(path: str, *, anywhere: bool) -> list[str]:
    """Return the path and its parents, or only their names if a pattern may match anywhere."""
    pieces = path.split("/")
    return pieces if anywhere else pieces[:1]


def test_the_base_image_is_pinned_and_has_the_required_python() -> None:
    images = {rest.split()[0] for rest in arguments("FROM")}
    assert images == {"${PYTHON_IMAGE}", "installer"}, "installer is a stage of it"
    assert arguments("ARG")[0] == "PYTHON_IMAGE=python:3.11-slim"
    assert containers()["prepare"].mapping("build")["args"] == {
        "PYTHON_IMAGE": "${KEYFERRY_PYTHON_IMAGE:-python:3.11-slim}",
        **dict.fromkeys(MIRRORS),
    }
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["requires-python"] == ">=3.11"


def test_the_same_uv_installs_exactly_the_locked_versions() -> None:
    version = re.search(r"^UV_VERSION := (\S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert version is not None
    assert any(f"uv=={version[1]}" in run for run in arguments("RUN"))
    syncs = [run for run in arguments("RUN") if "uv sync" in run]
    assert syncs
    of_services, of_page = syncs[:-1], syncs[-1]
    assert all("--frozen --no-dev --no-default-groups" in sync for sync in of_services)
    assert "--frozen --only-group page" in of_page


def test_it_runs_as_the_unprivileged_user_of_the_compose_file() -> None:
    [user] = arguments("USER")
    assert user == containers()["router"].text("user") == "10001:10001"
    [create] = [run for run in arguments("RUN") if "useradd" in run]
    assert "--uid 10001 --gid 10001" in create
    detail = [word for word, _ in STEPS]
    assert detail.index("CMD") > detail.index("USER"), "nothing runs as root at the end"


def test_one_image_runs_any_service() -> None:
    assert set(arguments("ARG")) == {"PYTHON_IMAGE=python:3.11-slim", *MIRRORS, "SERVICE=ingress"}
    assert arguments("CMD") == ['["sh", "-c", "exec python -m services.$SERVICE"]']
    assert "ENTRYPOINT" not in dict(STEPS), "the Compose file names the module in its command"


def test_no_secret_can_get_into_a_layer() -> None:
    last = max(number for number, (word, _) in enumerate(STEPS) if word == "FROM")
    assert not {rest for word, rest in STEPS[last:] if word == "ARG"} & set(MIRRORS), (
        "a mirror's URL may hold a password"
    )
    for sources, _ in copied():
        assert not {".", "./", "*"} & set(sources), "only what is named goes in"
    for secret in (
        ".keyferry/secrets/token-pepper",
        "deploy/.keyferry/x",
        "shared/router.seed",
        "services/.env.local",
        ".git",
    ):
        assert ignored(secret), secret
    assert ignored("tests/support/servers/provisioned_bus.py")
    assert not re.search(r"(?i)password|token|secret=|seed=", " ".join(arguments("ENV") + arguments("ARG")))


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the repository's part of the image's /app according to the Dockerfile and .dockerignore."""
    app = tmp_path_factory.mktemp("app")
    listed = [name.as_posix() for name in repository_files()]
    for sources, target in copied():
        for source in sources:
            files = [name for name in listed if name == source or name.startswith(f"{source}/")]
            assert files, f"{source} is copied and does not exist"
            for name in filter(lambda name: not ignored(name) and (ROOT / name).is_file(), files):
                inside = Path(name).relative_to(source) if name != source else Path(name).name
                place = app / target / inside
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / name, place)
    return app


@pytest.mark.parametrize("module", [*(f"services.{row.name}" for row in SERVICES), "deploy.docker.setup"])
def test_every_entry_point_is_in_the_image(tree: Path, module: str) -> None:
    """Started without settings, each reports a missing one: so all its own code is there."""
    started = subprocess.run(
        [sys.executable, "-m", module, *(["prepare"] if module.startswith("deploy") else [])],
        cwd=tree,
        env={"PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "KEYFERRY_NATS_URL" in started.stderr, started.stderr
    assert started.returncode == (1 if module.startswith("deploy") else 78)


def test_data_files_and_migrations_are_in_the_image(tree: Path) -> None:
    for row in SERVICES:
        migrations = sorted((ROOT / "services" / row.name).glob("migrations/versions/*.py"))
        assert bool(migrations) == row.has_tables
        assert all((tree / path.relative_to(ROOT)).is_file() for path in migrations)
    for path in (ROOT / "services").rglob("*.toml"):
        assert (tree / path.relative_to(ROOT)).is_file()
    assert not (tree / "tests").exists()
