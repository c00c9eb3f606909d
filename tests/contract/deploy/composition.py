"""docker-compose.yml and the Dockerfile, parsed for comparison with the rest of the repository."""

import importlib
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import cast

import yaml

from deploy.embedded.services import SERVICES, ServiceRow, nats_user
from keyferry.runtime.process.settings import ServiceSettings

ROOT = Path(__file__).resolve().parents[3]
Mapping = dict[str, object]
PROCESSES: dict[str, tuple[ServiceRow, int]] = {
    nats_user(row, slot): (row, slot) for row in SERVICES for slot in range(1, row.slots + 1)
}
"""Every process of the embedded system, by the name that its NATS user and its container share."""


@dataclass(frozen=True)
class Mount:
    """A named volume in a container, or a file of the repository."""

    volume: str
    target: str
    read_only: bool

    @property
    def is_file(self) -> bool:
        return self.volume.startswith("./")


@dataclass(frozen=True)
class Container:
    """One service of the Compose file."""

    name: str
    content: Mapping

    def text(self, key: str) -> str:
        value = self.content.get(key, "")
        assert isinstance(value, str), f"{self.name}: {key} is no text"
        return value

    def texts(self, key: str) -> list[str]:
        value = self.content.get(key, [])
        assert isinstance(value, list), f"{self.name}: {key} is no list"
        return [str(part) for part in value]

    def mapping(self, key: str) -> Mapping:
        value = self.content.get(key, {})
        assert isinstance(value, dict), f"{self.name}: {key} is no mapping"
        return value

    @property
    def image(self) -> str:
        """The image's name, without the variables that replace it."""
        return with_defaults(self.text("image"))

    @property
    def environment(self) -> dict[str, str]:
        """With the defaults of the variables that Compose would take from its own environment."""
        return {name: with_defaults(str(value)) for name, value in self.mapping("environment").items()}

    @property
    def mounts(self) -> list[Mount]:
        parts = [entry.split(":") for entry in self.texts("volumes")]
        return [Mount(part[0], part[1], part[2:] == ["ro"]) for part in parts]

    @property
    def waits_for(self) -> dict[str, str]:
        """The services it waits for, and their required state."""
        waits = cast("dict[str, Mapping]", self.mapping("depends_on"))
        return {name: str(wait["condition"]) for name, wait in waits.items()}

    @property
    def is_ours(self) -> bool:
        return self.image.startswith("keyferry:")


def with_defaults(text: str) -> str:
    """Return a value in which every `${NAME:-default}` is its default, the inner ones first."""
    while (replaced := re.sub(r"\$\{[A-Z_]+:-([^${}]*)\}", r"\1", text)) != text:
        text = replaced
    return text


@cache
def compose_file() -> Mapping:
    content: Mapping = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return content


@cache
def containers() -> dict[str, Container]:
    services = compose_file()["services"]
    assert isinstance(services, dict)
    return {name: Container(name, content) for name, content in services.items()}


def services() -> dict[str, Container]:
    """Return the containers that run one of the repository's services."""
    return {
        name: container
        for name, container in containers().items()
        if container.texts("command")[:2] == ["python", "-m"] and container.texts("command")[2].startswith("services.")
    }


def settings_class(row: ServiceRow) -> type[ServiceSettings]:
    """Return the settings that a service reads."""
    module = importlib.import_module(f"services.{row.name}.settings")
    found = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, ServiceSettings) and value.__module__ == module.__name__
    ]
    assert len(found) == 1, f"which of {found}?"
    return found[0]
