"""JSON lines on stderr: one object a line, with the trace and the ids that a reader joins on."""

import datetime as dt
import json
import logging
import sys
import traceback

from keyferry.contracts.topology import Role

_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName", "color_message"}
_OURS = ("keyferry", "services", "deploy", "__main__")
"""The first part of our own loggers' names."""


class ThirdPartiesQuiet(logging.Filter):
    """Lets others' records pass from WARNING on: below it, libraries log headers, URLs and bodies, keys and all.

    At the handler, and by who we are and not by who they are: a library that is new, or that sets its own level, is quiet, too.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is written."""
        return record.levelno >= logging.WARNING or record.name.partition(".")[0] in _OURS


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
    handler.addFilter(ThirdPartiesQuiet())
    # The level is ours alone: for others it would only make them build lines that nobody reads.
    logging.basicConfig(handlers=[handler], level=max(logging.WARNING, _number(level)), force=True)
    for name in _OURS:
        logging.getLogger(name).setLevel(_number(level))


def _number(level: str) -> int:
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        raise ValueError(f"unknown log level: {level!r}")
    return number
