"""The migrations of a service are one line, in the order of their numbers."""

import re
from pathlib import Path

import pytest

from deploy.postgres.migrate import versions_dir
from deploy.postgres.roles import SERVICES_WITH_TABLES

_FIELD = re.compile(r'^(revision|down_revision) = (?:"(\d{4})"|None)$', re.MULTILINE)


@pytest.mark.parametrize("service", SERVICES_WITH_TABLES)
def test_each_migration_follows_the_one_with_the_number_before(service: str) -> None:
    before: str | None = None
    for path in sorted(Path(versions_dir(service)).glob("[0-9]*.py")):
        fields = {name: number or None for name, number in _FIELD.findall(path.read_text())}
        assert fields["revision"] == path.name[:4], path.name
        assert fields["down_revision"] == before, f'{path.name} has to say `down_revision = "{before}"`'
        before = path.name[:4]
