"""The health check of a container: exit 0 if the process says on its operations port that it is ready, else 1 with its answer.

    python -I -S deploy/docker/health_check.py

It imports little: a dozen of them run every few seconds.
"""

import os
import socket
import sys

_TIMEOUT_SECONDS = 4.0
_REQUEST = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
_LIMIT_BYTES = 64 * 1024


def ask(port: int) -> bytes:
    """Return the answer of the operations port, head and body. Raises OSError."""
    answer = b""
    with socket.create_connection(("127.0.0.1", port), _TIMEOUT_SECONDS) as connection:
        connection.sendall(_REQUEST)
        while len(answer) < _LIMIT_BYTES and (data := connection.recv(4096)):
            answer += data
    return answer


def main() -> int:
    """Print the answer's body; return the exit status."""
    try:
        head, _, body = ask(int(os.environ["KEYFERRY_METRICS_PORT"])).partition(b"\r\n\r\n")
    except (OSError, KeyError, ValueError, OverflowError) as error:
        print(f"the operations port does not answer: {error!r}")
        return 1
    print(body.decode("utf-8", "replace"))
    return 0 if head.split(b" ", 2)[1:2] == [b"200"] else 1


if __name__ == "__main__":
    sys.exit(main())
