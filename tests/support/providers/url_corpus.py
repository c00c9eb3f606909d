"""URLs that try to reach internal addresses: every spelling of an address that some parser or resolver accepts.

Generated from tables, so that a new trick is one line. `LOOPBACK` says which spellings lead to a listener on loopback when
nothing defends it: with those a test shows that the defence is what keeps them away.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

_CIRCLED = str.maketrans("0123456789", "⓪①②③④⑤⑥⑦⑧⑨")
_WIDE = str.maketrans("0123456789.", "０１２３４５６７８９．")
_ARABIC = str.maketrans("0123456789", "٠١٢٣٤٥٦٧٨٩")
_BOLD = str.maketrans("0123456789", "𝟎𝟏𝟐𝟑𝟒𝟓𝟔𝟕𝟖𝟗")


def _parts(address: IPv4Address) -> list[int]:
    return list(address.packed)


def _groups(address: IPv4Address) -> str:
    a, b, c, d = _parts(address)
    return f"{a << 8 | b:x}:{c << 8 | d:x}"


V4: dict[str, Callable[[IPv4Address], str]] = {
    "dotted": str,
    "decimal": lambda a: str(int(a)),
    "hexadecimal": lambda a: hex(int(a)),
    "upper hexadecimal": lambda a: f"0X{int(a):X}",
    "octal": lambda a: f"0{int(a):o}",
    "long octal": lambda a: f"000{int(a):o}",
    "hexadecimal parts": lambda a: ".".join(map(hex, _parts(a))),
    "octal parts": lambda a: ".".join(f"0{part:o}" for part in _parts(a)),
    "mixed parts": lambda a: "{:#x}.{}.0{:o}.{}".format(*_parts(a)),
    "padded parts": lambda a: ".".join(f"{part:04}" for part in _parts(a)),
    "two parts": lambda a: f"{_parts(a)[0]}.{int(a) & 0xFFFFFF}",
    "three parts": lambda a: f"{_parts(a)[0]}.{_parts(a)[1]}.{int(a) & 0xFFFF}",
    "overflow": lambda a: str(int(a) + 2**32),
    "five parts": lambda a: f"{a}.0",
    "trailing dot": lambda a: f"{a}.",
    "leading dot": lambda a: f".{a}",
    "two dots": lambda a: str(a).replace(".", "..", 1),
    "ideographic dots": lambda a: str(a).replace(".", "。"),
    "circled digits": lambda a: str(a).translate(_CIRCLED),
    "wide digits": lambda a: str(a).translate(_WIDE),
    "arabic digits": lambda a: str(a).translate(_ARABIC),
    "bold digits": lambda a: str(a).translate(_BOLD),
    "percent": lambda a: "".join(f"%{ord(character):02x}" for character in str(a)),
    "percent dots": lambda a: str(a).replace(".", "%2e"),
    "brackets": lambda a: f"[{a}]",
    "soft hyphen": lambda a: str(a).replace(".", "\u00ad.", 1),
    "zero width": lambda a: str(a).replace(".", "\u200b.", 1),
    "zero byte": lambda a: f"{a}%00.example",
    "tab": lambda a: f"{str(a)[:3]}\t{str(a)[3:]}",
    "line end": lambda a: f"{a}\r\nx: ",
}
"""An IPv4 address, however it is spelt."""
V6: dict[str, Callable[[IPv4Address], str]] = {
    "mapped": lambda a: f"[::ffff:{a}]",
    "mapped in hexadecimal": lambda a: f"[::ffff:{_groups(a)}]",
    "mapped in capitals": lambda a: f"[::FFFF:{_groups(a).upper()}]",
    "mapped in full": lambda a: f"[0000:0000:0000:0000:0000:ffff:{_groups(a)}]",
    "mapped with a zone": lambda a: f"[::ffff:{a}%25lo]",
    "translated": lambda a: f"[::ffff:0:{a}]",
    "compatible": lambda a: f"[::{a}]",
    "nat64": lambda a: f"[64:ff9b::{a}]",
    "nat64 in hexadecimal": lambda a: f"[64:ff9b::{_groups(a)}]",
    "local nat64": lambda a: f"[64:ff9b:1::{_groups(a)}]",
    "6to4": lambda a: f"[2002:{_groups(a)}::1]",
    "teredo": lambda a: f"[2001:0:{_groups(a)}::]",
    "isatap": lambda a: f"[fe80::5efe:{a}]",
    "no brackets": lambda a: f"::ffff:{a}",
    "half a bracket": lambda a: f"[::ffff:{a}",
}
"""An IPv4 address inside an IPv6 one."""
OWN_V6 = ("[::1]", "[::]", "[0:0:0:0:0:0:0:1]", "[::1%25lo]", "[::1]]", "[fe80::1]", "[fd00:ec2::254]", "[fec0::1]")
LISTENER = "127.0.0.1"
INSIDE = ("127.0.0.1", "127.0.0.2", "0.0.0.0", "169.254.169.254", "10.0.0.1", "192.168.0.1", "100.100.100.200")
NAMES: dict[str, list[str]] = {
    "localhost": ["127.0.0.1", "::1"],
    "inside.example": ["127.0.0.1"],
    "inside6.example": ["::1"],
    "mapped.example": ["::ffff:127.0.0.1"],
    "nat64.example": ["64:ff9b::7f00:1"],
    "sixtofour.example": ["2002:7f00:1::1"],
    "metadata.example": ["169.254.169.254"],
    "both.example": ["203.0.113.7", "127.0.0.1"],
    "turned.example": ["127.0.0.1", "203.0.113.7"],
    "a.127.0.0.1.nip.example": ["127.0.0.1"],
    "nothing.example": [],
}
"""What the scripted name server answers."""
URLS: dict[str, str] = {
    "plain": "http://{host}:{port}/",
    "tls": "https://{host}:{port}/v1/chat/completions",
    "tls on the usual port": "https://{host}/v1",
    "tls on the other port": "https://{host}:8443/v1",
    "user": "http://api.example@{host}:{port}/",
    "user and password": "http://api.example:443@{host}:{port}/",
}
TRICKS: tuple[str, ...] = (
    "http://api.example#@{host}:{port}/",
    "http://api.example?@{host}:{port}/",
    "http://api.example\\@{host}:{port}/",
    "http://{host}:{port}#@api.example/",
    "http:{host}:{port}/",
    "http:/{host}:{port}/",
    "http:///{host}:{port}/",
    "http:\\\\{host}:{port}\\",
    "//{host}:{port}/",
    "{host}:{port}",
    " http://{host}:{port}/",
    "http://{host}:{port}/\r\nhost: api.example",
    "ht\ntp://{host}:{port}/",
    "http://{host}:0{port}/",
    "http://{host}:{port}:443/",
    "http://{host}:{wrapped}/",
    "ftp://{host}:{port}/",
    "gopher://{host}:{port}/_GET",
    "ws://{host}:{port}/",
    "wss://{host}:{port}/",
    "http+unix://{host}:{port}/",
    "file://{host}/etc/passwd",
    "jar:http://{host}:{port}!/",
    "dict://{host}:{port}/x",
)


@dataclass(frozen=True, slots=True)
class UrlCase:
    """One URL. `loopback` is whether nothing but a defence keeps a lenient client from a loopback listener."""

    trick: str
    url: str
    loopback: bool

    def __str__(self) -> str:
        return f"{self.trick}: {self.url!r}"


LOOPBACK = frozenset(
    {
        "dotted", "decimal", "hexadecimal", "upper hexadecimal", "octal", "long octal", "hexadecimal parts", "octal parts",
        "mixed parts", "two parts", "three parts", "mapped", "mapped in hexadecimal", "mapped in capitals", "mapped in full",
    }
)  # fmt: skip
"""The spellings that the C library's resolver, or an IPv6 socket, takes for the address itself."""


def cases(port: int) -> Iterator[UrlCase]:
    """Yield the corpus, for a listener on `port`."""
    for inside in INSIDE:
        address = IPv4Address(inside)
        for spelling, spell in (V4 | V6).items():
            reaches = spelling in LOOPBACK and inside == LISTENER
            for shape, url in URLS.items():
                if shape in ("plain", "tls on the usual port") or inside == LISTENER:
                    yield _case(f"{spelling}, {shape}", url, spell(address), port, reaches and shape == "plain")
    for host in (*OWN_V6, *NAMES):
        own = host in ("[::1]", "[0:0:0:0:0:0:0:1]", "localhost", "inside.example", "inside6.example", "mapped.example")
        for shape, url in URLS.items():
            yield _case(f"{host}, {shape}", url, host, port, own and shape == "plain")
    for trick in TRICKS:
        yield _case("trick", trick, LISTENER, port, reaches=False)


def _case(trick: str, url: str, host: str, port: int, reaches: bool) -> UrlCase:
    return UrlCase(trick, url.format(host=host, port=port, wrapped=port + 65536), reaches)


def forbidden_addresses() -> list[str]:
    """Return one address of each kind that a name server could return to lead inside."""
    inside = IPv4Address(LISTENER)
    return [*INSIDE, "::1", "::", *(str(IPv6Address(V6[name](inside)[1:-1])) for name in _ANSWERS)]


_ANSWERS = ("mapped", "compatible", "nat64", "local nat64", "6to4", "teredo", "translated", "isatap")
