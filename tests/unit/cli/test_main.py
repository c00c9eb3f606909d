"""The entry point: exit statuses, and errors as one line with a remedy, never a traceback."""

import importlib
import subprocess
import sys
from pathlib import Path

import click
import pytest
from nats.errors import ConnectionClosedError

from keyferry.cli import main
from keyferry.cli.problem import Problem, to_problem
from keyferry.contracts.envelope import MalformedMessage
from keyferry.contracts.failure import Failure, FailureClass
from keyferry.contracts.service import ErrorCode
from keyferry.contracts.tenancy import CreateTenant
from keyferry.runtime.bus.requests import BusError, Refused
from keyferry.runtime.request.assembly import CallFailed


@pytest.fixture(autouse=True)
def _nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KEYFERRY_HOME", "KEYFERRY_NATS_URL", "KEYFERRY_NATS_NKEY_FILE", "KEYFERRY_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def test_help_shows_every_command_without_loading_the_bus_library() -> None:
    code = (
        "import sys\nfrom keyferry.cli import main\nstatus = main.run(['--help'])\n"
        "print(sorted({'nats', 'pydantic', 'faststream'} & set(sys.modules)), status)"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.splitlines()[-1] == "[] 0"
    for name in main._COMMANDS:
        assert f"  {name} " in shown


@pytest.mark.parametrize("name", list(main._COMMANDS))
def test_every_command_exists_and_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    command = importlib.import_module(f"keyferry.cli.{name.replace('-', '_')}").command
    assert isinstance(command, click.Command)
    assert command.help
    assert main.run([name, "--help"]) == 0
    assert "Usage: keyferry" in capsys.readouterr().out


def test_a_former_name_still_works_and_is_not_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["deadletters", "replay", "--help"]) == 0
    assert "--reason" in capsys.readouterr().out
    assert main.run(["--help"]) == 0
    printed = capsys.readouterr().out
    assert "dead-letters" in printed
    assert "deadletters" not in printed


@pytest.mark.parametrize(
    "options",
    [[], ["1", "--all"], ["--file", __file__, "--all"], ["--all", "--reason", "outcome"], ["1", "--reason", "outcome"]],
)
def test_a_replay_says_what_it_is_about(options: list[str]) -> None:
    assert main.run(["dead-letters", "replay", *options]) == 2


@pytest.mark.parametrize(
    "arguments", [["models"], ["doctor"], ["chat", "hi"], ["tokens", "list"], ["restart", "router"]]
)
def test_missing_installation_has_a_remedy(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(arguments) == 1
    printed = capsys.readouterr().err
    assert printed.splitlines()[0].startswith("keyferry: no installation here")
    assert "make up" in printed
    assert "Traceback" not in printed


def test_unreachable_bus_is_reported(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("KEYFERRY_NATS_URL", "nats://127.0.0.1:1")
    assert main.run(["tenants", "list"]) == 1
    assert "NATS does not answer at nats://127.0.0.1:1" in capsys.readouterr().err


def test_invalid_command_line_exits_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["nonsense"]) == 2
    assert main.run(["tenants", "create", "acme", "--tier", "golden"]) == 2
    assert main.run(["chat"]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_argument_rejected_by_the_contract_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["tenants", "create", "Not An Id"]) == 1
    assert "tenant: it should be 1 to 63 characters" in capsys.readouterr().err


def test_unexpected_error_is_one_line_and_a_traceback_only_on_request(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise ZeroDivisionError("secret words")

    monkeypatch.setattr(main.cli, "main", fails)
    assert main.run([]) == 1
    printed = capsys.readouterr().err
    assert printed.startswith("keyferry: unexpected: ZeroDivisionError\n")
    assert "secret words" not in printed
    monkeypatch.setenv("KEYFERRY_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        main.run([])


def test_interruption_prints_no_error(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(main.cli, "main", interrupted)
    assert main.run([]) == 130
    assert capsys.readouterr().err == "stopped\n"


def _malformed() -> Exception:
    return MalformedMessage("Tenant", "name: Field required")


def _invalid() -> Exception:
    with pytest.raises(ValueError) as caught:
        CreateTenant(tenant="!", name="x")
    return caught.value


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (Problem("it is", "do that"), "it is"),
        (BusError("no reply"), "no reply"),
        (Refused(ErrorCode.CONFLICT, "there is one already"), "there is one already"),
        (
            CallFailed(Failure(failure_class=FailureClass.POLICY, message="not allowed")),
            "no answer: not allowed (policy)",
        ),
        (ConnectionClosedError(), "the connection to the bus broke"),
        (_malformed(), "an answer could not be read: Tenant: name: Field required"),
        (_invalid(), "tenant: it should be 1 to 63 characters"),
        (FileNotFoundError(2, "No such file or directory", "/x"), "/x: No such file or directory"),
        (RuntimeError("hidden"), "unexpected: RuntimeError"),
    ],
)
def test_every_kind_of_error_is_converted(error: Exception, expected: str) -> None:
    assert expected in to_problem(error).what
    assert all("\n" not in line for line in to_problem(error).lines())


def test_a_text_that_is_not_utf_8_is_refused_before_it_is_sent(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["chat", "caf\udce9"]) == 1
    assert "the text is not UTF-8" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["keys", "list", "--all-tenants", "--tenant", "demo"], "exclude each other"),
        (["tenants", "create", "acme", "--name", ""], "name: it should be a text"),
    ],
)
def test_an_argument_without_sense_is_refused_before_anything_is_asked(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run(arguments) == 1
    assert says in capsys.readouterr().err
