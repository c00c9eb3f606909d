"""JSON lines on stderr: one object a line, with the trace and the ids that a reader joins on."""

import datetime as dt
import json
import logging
import sys
import traceback

from keyferry.contracts.topology import Role

_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName", "color_message"}
_QUIET = ("httpx", "httpcore", "hpack", "aiohttp", "asyncio", "faststream", "nats", "uvicorn", "sqlalchemy", "alembic")
"""Third parties that log headers, URLs or connection strings below WARNING."""


class JsonFormatter(logging.Formatter):
    """`time`, `level`, `service`, `logger`, `message`, then whatever came in `extra`."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        """One JSON object on one line."""
        line: dict[str, object] = {
            "time": dt.datetime.fromtimestamp(record.created, dt.UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "service": self._service,
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {key: value for key, value in record.__dict__.items() if key not in _STANDARD}
        if record.exc_info and record.exc_info[0] is not None:
            # Only where it happened: the text of an exception may repeat a value that must not be logged.
            line["error"] = record.exc_info[0].__name__
            line["traceback"] = [
                f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(record.exc_info[2])
            ]
        return json.dumps(line, default=str, ensure_ascii=False)


def configure(service: Role | str, level: str) -> None:
    """Send every logger to stderr as JSON lines. Raises ValueError for an unknown level."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(str(service)))
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
