"""Counters of limits for attempts without any."""


async def count_nowhere(subject: str, amount: int) -> None:
    raise AssertionError(f"an attempt without limits counts {amount} on {subject}")
