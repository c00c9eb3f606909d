"""`keyferry login`, `whoami` and `logout` against a running console."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from keyferry.cli.main import cli
from keyferry.sealing.private_keys import public_key_text
from tests.integration.console.console import Console, console
from tests.integration.console.sign_in_site import UNLIMITED, place, until
from tests.integration.tenant_directory.conftest import servers as servers
from tests.integration.tenant_directory.processes import DirectoryServers
from tests.support.oidc.browser import Browser

LOGIN_KEY = "a-login-key-for-tests-and-for-nothing-else"


async def run(folder: Path, *arguments: str) -> Result:
    """Run one command as a person whose directory of settings is `folder`."""
    environment = {
        "XDG_CONFIG_HOME": str(folder),
        "KEYFERRY_LOGIN_KEY_FILE": str(folder / "login-key"),
        "KEYFERRY_HOME": None,
        "KEYFERRY_URL": None,
    }
    return await asyncio.to_thread(CliRunner().invoke, cli, arguments, env=environment)


@asynccontextmanager
async def local_console(servers: DirectoryServers, folder: Path) -> AsyncIterator[Console]:
    (folder / "login-key").write_text(LOGIN_KEY)
    pinned = public_key_text(X25519PrivateKey.generate())
    settings = {**UNLIMITED, "KEYFERRY_LOGIN_KEY_FILE": str(folder / "login-key")}
    async with servers.process(), console(servers.bus, folder, pinned, records=False, settings=settings) as face:
        assert (await face.client.post("/api/v1/ops/tenants", json={"tenant": "demo"})).status_code == 201
        yield face


async def show(folder: Path, url: str) -> Result:
    """Return what `keyferry whoami` shows, once the session is known."""

    async def known() -> Result | None:
        result = await run(folder, "whoami", "--url", url)
        return result if result.exit_code == 0 else None

    found = await until("the session is known", known)
    assert isinstance(found, Result)
    return found


async def test_the_built_in_login_from_the_terminal(servers: DirectoryServers, tmp_path: Path) -> None:
    async with local_console(servers, tmp_path) as face:
        url = str(face.client.base_url).rstrip("/")
        nobody = await run(tmp_path, "login", "--url", url)
        assert "needs to know who signs in" in str(nobody.exception)
        done = await run(tmp_path, "login", "--url", url, "--as", "ada@example.com", "--tenant", "demo")
        assert done.output == f"Signed in at {url} as ada@example.com.\n"
        file = tmp_path / "keyferry" / "sessions.json"
        assert file.stat().st_mode & 0o777 == 0o600
        token = json.loads(file.read_text())[url]
        assert (await show(tmp_path, url)).output == f"ada@example.com at {url}\n  owner of demo (in use)\n"
        link = await run(
            tmp_path,
            "login",
            "--url",
            url,
            "--as",
            "eve@example.com",
            "--tenant",
            "demo",
            "--role",
            "viewer",
            "--browser",
        )
        code = link.output.splitlines()[0].partition("#")[2]
        own = {"origin": url}
        async with Browser() as browser:
            body = {"code": code, "browser": True}
            assert (await browser.send("POST", f"{url}/auth/code", json=body, headers=own)).status_code == 200
        assert (await run(tmp_path, "logout", "--url", url)).output == f"Signed out at {url}.\n"
        assert "not signed in" in str((await run(tmp_path, "whoami", "--url", url)).exception)

        async def ended() -> bool:
            headers = {"authorization": f"Bearer {token}"}
            return (await face.client.get("/api/v1/session", headers=headers)).status_code == 401

        await until("the session has ended", ended)
        (tmp_path / "login-key").write_text("another-login-key-that-is-not-the-console's")
        wrong = await run(tmp_path, "login", "--url", url, "--as", "ada@example.com", "--tenant", "demo")
        assert "of another installation" in str(wrong.exception)
        bad = await run(tmp_path, "login", "--url", url, "--as", "no address", "--tenant", "demo")
        assert "nobody can sign in like that" in str(bad.exception)


@pytest.mark.parametrize(("person", "message"), [("ada", "as ada@example.com."), ("denied", "you are not signed in")])
async def test_the_device_flow_from_the_terminal(
    servers: DirectoryServers, tmp_path: Path, person: str, message: str
) -> None:
    async with place(servers, tmp_path) as here:
        running = asyncio.create_task(run(tmp_path, "login", "--url", here.url))
        codes = here.provider.user_codes

        async def begun() -> bool:
            return bool(codes)

        await until("the device flow has begun", begun)
        async with Browser() as browser:
            await browser.sign_in(f"{here.provider.issuer}/device?user_code={next(iter(codes))}", person)
        result = await running
        shown = f"{result.output}{result.exception}"
        assert message in shown
        assert next(iter(codes)) in shown, "the code was shown"
        if person == "ada":
            assert "admin of acme" in (await show(tmp_path, here.url)).output
        refused = await run(tmp_path, "login", "--url", here.url, "--as", "x@example.com", "--tenant", "acme")
        assert "has an identity provider" in str(refused.exception)
