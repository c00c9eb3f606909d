"""JSON lines on stderr: one object per line, with the ids by which records are joined."""

import datetime as dt
import json
import logging
import sys
import traceback

from keyferry.contracts.topology import Role

_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName", "color_message"}
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
_OURS = ("keyferry", "services", "deploy", "__main__")
"""First components of the names of the product's loggers."""
_MAX_VALUE_CHARACTERS = 8000


class ThirdPartiesQuiet(logging.Filter):
    """Passes records of libraries from WARNING on: below it they log headers, URLs and bodies, keys included.

    It sits at the handler and knows the product's own loggers, so that a new library, or one that sets its own level, is
    covered.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a record is written."""
        return record.levelno >= logging.WARNING or record.name.partition(".")[0] in _OURS


class JsonFormatter(logging.Formatter):
    """Formats `time`, `level`, `service`, `logger`, `message`, then everything in `extra`."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        """Return one JSON object on one line."""
        line: dict[str, object] = {
            "time": dt.datetime.fromtimestamp(record.created, dt.UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "service": self._service,
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {key: value for key, value in record.__dict__.items() if key not in _STANDARD}
        if record.exc_info and record.exc_info[0] is not None:
            # The place only: the text of an exception may repeat a value that must not be logged.
            line["error"] = record.exc_info[0].__name__
            line["traceback"] = [
                f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(record.exc_info[2])
            ]
        # ASCII only: text from outside can neither end the line nor steer the terminal that shows it.
        return json.dumps({key: _shorten(value) for key, value in line.items()}, default=str)


def _shorten(value: object) -> object:
    long = isinstance(value, str) and len(value) > _MAX_VALUE_CHARACTERS
    return f"{str(value)[:_MAX_VALUE_CHARACTERS]}…" if long else value


def configure(service: Role | str, level: str) -> None:
    """Send all log records to stderr as JSON lines. Raises ValueError for an unknown level."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(str(service)))
    handler.addFilter(ThirdPartiesQuiet())
    # The level applies to the product only: libraries would format records that the filter drops.
    logging.basicConfig(handlers=[handler], level=max(logging.WARNING, _number(level)), force=True)
    for name in _OURS:
        logging.getLogger(name).setLevel(_number(level))


def _number(level: str) -> int:
    if level.upper() not in LEVELS:
        raise ValueError(f"unknown log level: {level!r}")
    return logging.getLevelNamesMapping()[level.upper()]
