"""The zero-latency upstream: nginx answering chat completions from two fixed files."""

import contextlib
import http.client
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.bench import loopback, payload
from tests.bench.case import Kind
from tests.bench.children import started
from tests.bench.system import Target

# A static file may not be answered to a POST, so each location turns the request into an internal one for the file.
# `keepalive_requests` is above what any run sends: a closed connection would be a cost that is not the system's.
_CONFIG = """\
daemon off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log stderr error;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  keepalive_requests 1000000000;
  keepalive_timeout 600s;
  tcp_nodelay on;
  open_file_cache max=8;
  client_body_temp_path {directory}/client_body;
  proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
  server {{
    listen 127.0.0.1:{port} backlog=1024;
    root {directory}/bodies;
    location = /plain/v1/chat/completions {{ error_page 418 =200 /plain.json; return 418; }}
    location = /stream/v1/chat/completions {{ error_page 418 =200 /stream.sse; return 418; }}
    location = /plain/v1/models {{ error_page 418 =200 /models.json; return 418; }}
    location = /stream/v1/models {{ error_page 418 =200 /models.json; return 418; }}
    location / {{ internal; types {{ application/json json; text/event-stream sse; }} }}
  }}
}}
"""


class Upstream:
    """The running upstream, and at the same time the system every other is compared with: a call straight to it."""

    name = "direct"

    def __init__(self, port: int, pid: int) -> None:
        self._port = port
        self._pid = pid

    @property
    def pid(self) -> int:
        """The process id of the nginx master, whose one child answers."""
        return self._pid

    @property
    def root_url(self) -> str:
        """`http://127.0.0.1:<port>`; `/plain/v1` and `/stream/v1` below it are OpenAI base URLs."""
        return f"http://127.0.0.1:{self._port}"

    def target(self, kind: Kind) -> Target:
        """Return the base URL that gives the answer of this kind."""
        path, model = ("stream", payload.STREAM_MODEL) if kind.streams else ("plain", payload.PLAIN_MODEL)
        return Target(f"{self.root_url}/{path}/v1", model)

    def processes(self) -> Mapping[str, int]:
        """Only nginx."""
        return {"upstream": self._pid}

    def accounted(self) -> None:
        """Return None: a direct call is accounted nowhere."""
        return


@contextlib.contextmanager
def running(nginx: str, directory: Path) -> Iterator[Upstream]:
    """Run the upstream for the length of the block on a free loopback port, with all its files in `directory`.

    Raises:
        BenchError: nginx ended or did not answer in time.
    """
    bodies = directory / "bodies"
    bodies.mkdir()
    (bodies / "plain.json").write_bytes(payload.plain_answer())
    (bodies / "stream.sse").write_bytes(payload.stream_answer())
    (bodies / "models.json").write_bytes(payload.model_list())
    # Unprivileged nginx workers of a root master must be able to walk to the bodies.
    directory.chmod(0o755)
    port = loopback.find_free_port()
    config = directory / "nginx.conf"
    config.write_text(config_text(directory, port))
    with started("upstream", [nginx, "-p", directory, "-c", config, "-e", "stderr"], directory) as child:
        child.wait_until(lambda: True if _answers(port) else None, "an answer on its port")
        yield Upstream(port, child.pid)


def config_text(directory: Path, port: int) -> str:
    """Return the nginx configuration for a directory and a loopback port."""
    return _CONFIG.format(directory=directory, port=port)


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("POST", "/plain/v1/chat/completions", body=b"{}")
        return connection.getresponse().read() == payload.plain_answer()
    except (ConnectionError, http.client.HTTPException):
        return False
    finally:
        connection.close()
