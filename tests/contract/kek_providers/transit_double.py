"""A test double of the transit engine of HashiCorp Vault and OpenBao, for the vault's and an administrator's calls.

Faithful where it matters here, by the API's documentation and the engine's source: associated data are authenticated, `rewrap`
takes none, versions below `min_decryption_version` do not decrypt, errors are `{"errors": […]}` with the engine's statuses.
`test_transit_double.py` holds it against the calls of the hvac client.
"""

import base64
import json
import os
import re
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

Body = dict[str, object]
_PATH = re.compile(r"/v1/transit/(?P<verb>encrypt|decrypt|rewrap|keys)/(?P<name>[\w.-]+)(?:/(?P<act>rotate|config))?")
_CIPHERTEXT = re.compile(r"vault:v(?P<version>[0-9]+):(?P<data>[A-Za-z0-9+/=]+)")


class Refused(Exception):
    """An answer other than 200."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass
class EngineKey:
    """A key of the engine: its versions, and the oldest one that may still decrypt."""

    versions: list[bytes] = field(default_factory=lambda: [os.urandom(32)])
    min_decryption_version: int = 1
    deletion_allowed: bool = False

    def encrypt(self, plaintext: bytes, associated_data: bytes) -> str:
        nonce = os.urandom(12)
        data = nonce + AESGCM(self.versions[-1]).encrypt(nonce, plaintext, associated_data)
        return f"vault:v{len(self.versions)}:{base64.b64encode(data).decode()}"

    def decrypt(self, ciphertext: str, associated_data: bytes) -> bytes:
        if (match := _CIPHERTEXT.fullmatch(ciphertext)) is None:
            raise Refused(400, "invalid ciphertext: no prefix")
        version, data = int(match["version"]), base64.b64decode(match["data"])
        if version > len(self.versions):
            raise Refused(400, "invalid ciphertext: version is too new")
        if version < self.min_decryption_version:
            raise Refused(400, "ciphertext or signature version is disallowed by policy (too old)")
        try:
            return AESGCM(self.versions[version - 1]).decrypt(data[:12], data[12:], associated_data)
        except (InvalidTag, ValueError):
            raise Refused(400, "cipher: message authentication failed") from None


class TransitDouble:
    """The engine behind a URL. `sealed` makes it answer as a sealed server does."""

    def __init__(self) -> None:
        self.token = f"hvs.{secrets.token_hex(12)}"
        self.keys: dict[str, EngineKey] = {}
        self.sealed = False
        self.may_rotate = True
        """Whether the token's policy allows the `rotate` path."""
        self.url = ""
        self.calls: list[str] = []
        """The verb of each call."""

    def answer(self, method: str, path: str, token: str | None, body: Body) -> Body | None:
        """The data of an answer; None is 204. Raises Refused."""
        if self.sealed:
            raise Refused(503, "Vault is sealed")
        if token != self.token:
            raise Refused(403, "permission denied")
        if (match := _PATH.fullmatch(path)) is None:
            raise Refused(404, "unsupported path")
        self.calls.append(match["act"] or match["verb"])
        if match["verb"] == "keys":
            return self._administer(method, match["name"], match["act"], body)
        return self._use(match["verb"], match["name"], body)

    def _use(self, verb: str, name: str, body: Body) -> Body:
        if (key := self.keys.get(name)) is None:
            raise Refused(400, "encryption key not found")
        if verb == "rewrap":
            return {"ciphertext": key.encrypt(key.decrypt(str(body["ciphertext"]), b""), b"")}
        associated_data = base64.b64decode(str(body.get("associated_data") or ""))
        if verb == "encrypt":
            return {"ciphertext": key.encrypt(base64.b64decode(str(body["plaintext"])), associated_data)}
        plaintext = key.decrypt(str(body["ciphertext"]), associated_data)
        return {"plaintext": base64.b64encode(plaintext).decode()}

    def _administer(self, method: str, name: str, act: str | None, body: Body) -> Body | None:
        if method == "POST" and act is None:
            self.keys.setdefault(name, EngineKey())
            return None
        if (key := self.keys.get(name)) is None:
            raise Refused(404, "")
        if method == "GET":
            return {
                "name": name,
                "type": "aes256-gcm96",
                "latest_version": len(key.versions),
                "min_decryption_version": key.min_decryption_version,
            }
        if method == "DELETE":
            if not key.deletion_allowed:
                raise Refused(400, "deletion is not allowed for this key")
            del self.keys[name]
        elif act == "rotate" and not self.may_rotate:
            raise Refused(403, "1 error occurred: permission denied")
        elif act == "rotate":
            key.versions.append(os.urandom(32))
        else:
            key.min_decryption_version = int(str(body.get("min_decryption_version") or key.min_decryption_version))
            key.deletion_allowed = bool(body.get("deletion_allowed", key.deletion_allowed))
        return None


@contextmanager
def transit_double() -> Iterator[TransitDouble]:
    """The double on a loopback port."""
    double = TransitDouble()

    class Handler(BaseHTTPRequestHandler):
        """HTTP in front of the double."""

        def _serve(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body: Body = json.loads(self.rfile.read(length) or b"{}")
            try:
                data = double.answer(self.command, self.path, self.headers.get("X-Vault-Token"), body)
                status, answer = (204, b"") if data is None else (200, json.dumps({"data": data}).encode())
            except Refused as refused:
                errors = [str(refused)] if str(refused) else []
                status, answer = refused.status, json.dumps({"errors": errors}).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815  # the names that http.server looks for

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # http.server's own name
            """Stay quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    double.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield double
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
