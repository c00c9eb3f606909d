"""What a backup says about itself. Pure."""

import re
from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

FORMAT = 1
"""Raised when a build of this version could not restore what a later one writes."""
MANIFEST, END = "manifest.json", "end.json"
SECRETS, SPOOL, STREAMS, DATABASE = "secrets", "spool", "streams", "database"
STREAM_DESCRIPTION = "stream.json"
"""The server's description of a stream, before the parts of its content."""
_COMPONENT = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,200}"
_NAME = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT}){{0,8}}")
_Word = Annotated[str, StringConstraints(max_length=200, pattern=r"^[ -~]*$")]


class BackupManifest(BaseModel):
    """The first member of a backup."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    format: int
    version: _Word
    """Of the build that made it."""
    created_at: datetime
    database: _Word
    """The database's name, with which the names of its roles begin."""
    postgres_major: int
    schemas: dict[_Word, tuple[_Word | None, _Word | None]]
    """Of each service with tables, the revision and the digest of its migrations."""
    streams: list[_Word]
    with_keks: bool = True


class BackupEnd(BaseModel):
    """The last member: what there has to be before it."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    members: int = Field(ge=0)
    sha256: _Word
    """Over the names, sizes and contents of all of them."""


def is_member_name(name: str) -> bool:
    """Return whether this may be the name of a member: a relative path of plain characters, without hidden files."""
    return _NAME.fullmatch(name) is not None


def part_name(directory: str, number: int) -> str:
    """Return the name of a part of something whose size is not known beforehand."""
    return f"{directory}/{number:08d}"
