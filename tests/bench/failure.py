"""The one error a benchmark run ends with."""


class BenchError(Exception):
    """A benchmark cannot run or its figures cannot be trusted; the message says what happened and what to do."""
