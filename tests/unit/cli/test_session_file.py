"""The file of saved sessions."""

import json
from pathlib import Path

import pytest

from keyferry.cli.problem import Problem
from keyferry.cli.session_file import (
    SavedSession,
    load,
    load_last,
    normalize_url,
    remove,
    save,
    session_path,
)
from keyferry.contracts.secret import Secret

HERE = "http://127.0.0.1:8401"
THERE = "https://keyferry.example.com"
TOKEN = "kfs_a-session-that-nobody-may-see"


def session(url: str, token: str = TOKEN) -> SavedSession:
    return SavedSession(url, Secret(token))


def test_a_session_is_saved_found_by_its_address_and_removed(tmp_path: Path) -> None:
    file = tmp_path / "config" / "keyferry" / "sessions.json"
    assert (load(HERE, file), load_last(file), remove(HERE, file)) == (None, None, False)
    save(session(HERE), file)
    save(session(f"{THERE}/", "kfs_other"), file)
    assert load(f" {HERE}/", file) == session(HERE)
    assert load_last(file) == session(THERE, "kfs_other")
    save(session(HERE, "kfs_newer"), file)
    assert load_last(file) == session(HERE, "kfs_newer")
    assert remove(HERE, file)
    assert (load(HERE, file), load_last(file)) == (None, session(THERE, "kfs_other"))
    assert [path.name for path in file.parent.iterdir()] == ["sessions.json"]


def test_only_its_owner_reads_it(tmp_path: Path) -> None:
    file = tmp_path / "sessions.json"
    save(session(HERE), file)
    assert file.stat().st_mode & 0o777 == 0o600
    file.chmod(0o640)
    with pytest.raises(Problem, match="others may read") as refused:
        load(HERE, file)
    assert TOKEN not in "".join(refused.value.lines())


@pytest.mark.parametrize("content", ["", "[]", "no json", json.dumps({HERE: 7})])
def test_a_damaged_file_is_reported_and_not_repeated(tmp_path: Path, content: str) -> None:
    file = tmp_path / "sessions.json"
    file.touch(mode=0o600)
    file.write_text(content)
    with pytest.raises(Problem, match="does not hold sessions"):
        load_last(file)


def test_a_file_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    (tmp_path / "keyferry").touch()
    with pytest.raises(Problem):
        save(session(HERE), tmp_path / "keyferry" / "sessions.json")


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("HTTPS://Keyferry.Example.com/", THERE),
        ("https://keyferry.example.com:8443", "https://keyferry.example.com:8443"),
        ("http://localhost:8401/", "http://localhost:8401"),
        ("http://[::1]:8401", "http://[::1]:8401"),
    ],
)
def test_an_address_has_one_form(given: str, found: str) -> None:
    assert normalize_url(given) == found


@pytest.mark.parametrize(
    "given",
    [
        *(
            "",
            "keyferry.example.com",
            "ftp://a",
            "https://",
            "https://a/api",
            "https://a?b=1",
            "https://a#b",
            "https://[::1",
        ),
        *("https://user:word@a", "https://a:port", "http://keyferry.example.com", "http://127.0.0.1.example.com"),
    ],
)
def test_other_addresses_are_refused(given: str) -> None:
    with pytest.raises(Problem) as refused:
        normalize_url(given)
    assert "word" not in "".join(refused.value.lines())


def test_where_the_file_is() -> None:
    assert session_path({"XDG_CONFIG_HOME": "/c"}) == Path("/c/keyferry/sessions.json")
    assert session_path({}) == Path.home() / ".config" / "keyferry" / "sessions.json"
