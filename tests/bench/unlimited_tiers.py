"""A tier file without limits: a benchmark measures the machine, not what a tenant has bought."""

import re
from pathlib import Path

from keyferry.tiers.file import BUNDLED_TIERS

_LIMIT = re.compile(r"^(rpm|tpm|concurrency) = .*$", re.MULTILINE)


def write_unlimited_tiers(directory: Path) -> Path:
    """Write the bundled tiers without their rates and concurrency. Return the file."""
    file = directory / "unlimited-tiers.toml"
    file.write_text(_LIMIT.sub(r'\1 = "unlimited"', BUNDLED_TIERS.read_text(encoding="utf-8")), encoding="utf-8")
    return file
