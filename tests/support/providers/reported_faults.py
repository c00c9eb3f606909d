"""Requests and answers that other gateways were reported to get wrong.

They live beside the repository and are not copied into it; `KEYFERRY_REPORTED_FAULTS` names another place. A missing folder is an
error, never a reason to test less.
"""

import os
from pathlib import Path

from tests.support.repository.files import ROOT


def folder() -> Path:
    """Return where the inputs are. Raises FileNotFoundError."""
    traffic = os.environ.get("KEYFERRY_PROVIDER_TRAFFIC")
    beside = Path(traffic).parent if traffic else ROOT.parent / "shared"
    path = Path(os.environ.get("KEYFERRY_REPORTED_FAULTS") or beside / "reported-faults")
    if not any(path.glob("req-*.json")):
        raise FileNotFoundError(f"no reported faults at {path}; set KEYFERRY_REPORTED_FAULTS to their folder")
    return path


def request_files() -> list[Path]:
    """Return the files of requests, in a fixed order. Raises FileNotFoundError."""
    return sorted(folder().glob("req-*.json"))
