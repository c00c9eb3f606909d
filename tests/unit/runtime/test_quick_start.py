"""Commands start with fewer imports and collections."""

import gc
import sys
from types import ModuleType

import pytest

from keyferry.runtime.process.quick_start import start_quickly


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aiohttp", ModuleType("aiohttp"))
    monkeypatch.setattr(gc, "set_threshold", lambda _: None)


def test_what_is_not_used_counts_as_not_installed() -> None:
    del sys.modules["aiohttp"]
    start_quickly()
    with pytest.raises(ModuleNotFoundError):
        import aiohttp  # noqa: F401


def test_what_is_imported_already_stays() -> None:
    start_quickly()
    import aiohttp

    assert aiohttp is sys.modules["aiohttp"]


def test_garbage_is_collected_after_the_imports(monkeypatch: pytest.MonkeyPatch) -> None:
    thresholds: list[int] = []
    monkeypatch.setattr(gc, "set_threshold", thresholds.append)
    start_quickly()
    assert thresholds == [200_000]
