import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyferry.runtime.upstream.inflate import STEP_BYTES, CannotInflate, Inflater


def raw_deflate(data: bytes) -> bytes:
    machine = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return machine.compress(data) + machine.flush()


def whole(coding: str, data: bytes, cut: int) -> bytes:
    inflater = Inflater(coding)
    pieces = [piece for start in range(0, len(data), cut) for piece in inflater.feed(data[start : start + cut])]
    inflater.close()
    return b"".join(pieces)


@given(st.binary(max_size=4096), st.integers(min_value=1, max_value=700))
def test_every_coding_is_decompressed_however_it_is_split(body: bytes, cut: int) -> None:
    assert whole("gzip", gzip.compress(body), cut) == body
    assert whole(" X-GZIP ", gzip.compress(body), cut) == body
    assert whole("deflate", zlib.compress(body), cut) == body


def test_raw_deflate_is_accepted_as_deflate() -> None:
    body = b'{"a": [' + b"1, " * 1000 + b"2]}"
    assert whole("deflate", raw_deflate(body), 7) == body


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip, gzip", "compress", "identity;q=1", "none"])
def test_other_codings_are_refused(coding: str) -> None:
    with pytest.raises(CannotInflate):
        Inflater(coding)


def test_a_bomb_is_rejected_after_a_mebibyte_in_steps() -> None:
    bomb = gzip.compress(bytes(8 * 1024 * 1024))
    pieces = Inflater("gzip").feed(bomb[:2048])
    sizes: list[int] = []
    with pytest.raises(CannotInflate, match="200 times"):
        sizes.extend(len(piece) for piece in pieces)
    assert 0 < sum(sizes) <= 1024 * 1024
    assert max(sizes) <= STEP_BYTES


def test_legitimate_repetition_is_accepted() -> None:
    body = b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n' * 2_000
    assert whole("gzip", gzip.compress(body), 1000) == body


def test_data_that_is_cut_off_or_not_compressed_is_rejected() -> None:
    packed = gzip.compress(b"hello")
    with pytest.raises(CannotInflate, match="before it was complete"):
        whole("gzip", packed[:-3], 100)
    with pytest.raises(CannotInflate, match="before it was complete"):
        whole("gzip", packed + packed[:-3], 7)
    with pytest.raises(CannotInflate, match="not compressed"):
        whole("gzip", b"hello, world", 100)


@pytest.mark.parametrize("cut", [1, 2, 7, 1000])
@pytest.mark.parametrize("behind", [b"", b"x", b"\0" * 9, b"\x1f", b"\x1f\x8b", b"\x1f\x8bx", b"\r\n"])
def test_what_follows_the_compressed_end_is_left_out(behind: bytes, cut: int) -> None:
    assert whole("gzip", gzip.compress(b"hello") + behind, cut) == b"hello"
    assert whole("deflate", zlib.compress(b"hello") + behind, cut) == b"hello"


@pytest.mark.parametrize("cut", [1, 2, 7, 1000])
def test_all_parts_of_a_gzip_body_are_its_content(cut: int) -> None:
    parts = b"".join(gzip.compress(part) for part in (b"hel", b"", b"lo"))
    assert whole("gzip", parts + b"x", cut) == b"hello"


def test_a_bomb_of_many_parts_is_rejected() -> None:
    part = gzip.compress(bytes(64 * 1024))
    with pytest.raises(CannotInflate, match="200 times"):
        whole("gzip", part * 64, 4096)


def test_an_empty_body_is_a_complete_compressed_one() -> None:
    assert whole("gzip", b"", 1) == b""
