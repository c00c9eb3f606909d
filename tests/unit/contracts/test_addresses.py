from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyferry.contracts.addresses import AddressPolicy, ForbiddenAddress, Network
from keyferry.contracts.origin import STANDARD_PORTS, ForbiddenUrl, Origin, check_url, needs_operator

FORBIDDEN_NETWORKS = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "168.63.129.16/32",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.31.196.0/24",
    "192.52.193.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "192.175.48.0/24",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "::/128",
    "::1/128",
    "::/96",
    "::ffff:0:0:0/96",
    "64:ff9b::/96",
    "64:ff9b:1::/48",
    "100::/64",
    "2001::/23",
    "2001::/32",
    "2001:db8::/32",
    "2002::/16",
    "2620:4f:8000::/48",
    "3fff::/20",
    "4000::/3",
    "5f00::/16",
    "fc00::/7",
    "fe80::/10",
    "fec0::/10",
    "ff00::/8",
]
PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.0",
    "168.63.129.15",
    "168.63.129.17",
    "169.253.255.255",
    "169.255.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "192.0.1.0",
    "192.167.255.255",
    "192.169.0.0",
    "198.17.255.255",
    "198.20.0.0",
    "223.255.255.255",
    "2001:200::1",
    "2001:4860:4860::8888",
    "2606:4700:4700::1111",
    "2a00:1450:4001:80b::200e",
    "3ffe:ffff::1",
    "::ffff:8.8.8.8",
]
METADATA = ["169.254.169.254", "100.100.100.200", "192.0.0.192", "168.63.129.16", "fd00:ec2::254", "fd20:ce::254"]


def refused(policy: AddressPolicy, text: str, *, operator_only: bool = False) -> bool:
    try:
        policy.check(ip_address(text), operator_only=operator_only)
    except ForbiddenAddress:
        return True
    return False


@pytest.mark.parametrize("text", FORBIDDEN_NETWORKS)
def test_every_special_network_is_refused_from_its_first_address_to_its_last(text: str) -> None:
    network = ip_network(text)
    assert refused(AddressPolicy(), str(network[0]))
    assert refused(AddressPolicy(), str(network[-1]))
    assert refused(AddressPolicy(), str(network[network.num_addresses // 2]))


@pytest.mark.parametrize("text", METADATA)
def test_metadata_services_are_refused_with_a_reason_for_the_operator(text: str) -> None:
    with pytest.raises(ForbiddenAddress, match=text):
        AddressPolicy().check(ip_address(text))


@pytest.mark.parametrize("text", PUBLIC)
def test_public_addresses_next_to_special_networks_are_allowed(text: str) -> None:
    AddressPolicy().check(ip_address(text))


@given(st.ip_addresses(v=4))
def test_an_embedded_v4_address_is_treated_like_the_v4_address(address: object) -> None:
    policy = AddressPolicy((ip_network("10.1.0.0/16"),))
    assert refused(policy, f"::ffff:{address}") == refused(policy, str(address))
    assert refused(policy, f"64:ff9b::{address}")


@given(st.ip_addresses(v=6))
def test_no_v6_address_outside_global_unicast_is_allowed(address: object) -> None:
    text = str(address)
    inside = ip_address(text) in ip_network("2000::/3") or text.startswith("::ffff:")
    assert inside or refused(AddressPolicy(), text)


@pytest.mark.parametrize(
    ("allow", "passes", "fails"),
    [
        ("127.0.0.0/8", ["127.0.0.1", "127.255.255.254", "::ffff:127.0.0.1"], ["::1", "10.0.0.1", "::127.0.0.1"]),
        ("192.168.7.0/24", ["192.168.7.9"], ["192.168.8.9", "169.254.169.254"]),
        ("fd12:3456::/32", ["fd12:3456::1"], ["fd00:ec2::254", "fe80::1"]),
        ("::1/128", ["::1"], ["127.0.0.1", "::"]),
        # On a network with NAT64 a public IPv4 address is reached through the prefix, a private one is not.
        ("64:ff9b::/96", ["64:ff9b::8.8.8.8"], ["64:ff9b::169.254.169.254", "64:ff9b::10.0.0.1", "64:ff9b:1::1"]),
        ("2002::/16", ["2002:808:808::1"], ["2002:a9fe:a9fe::1", "2002:7f00:1::"]),
        ("64:ff9b:1::/48", [], ["64:ff9b:1::a9fe:a9fe"]),
    ],
)
def test_only_listed_networks_are_allowed_by_the_operator(allow: str, passes: list[str], fails: list[str]) -> None:
    networks: tuple[Network, ...] = (ip_network(allow),)
    assert [text for text in passes if refused(AddressPolicy(networks), text)] == []
    assert [text for text in fails if not refused(AddressPolicy(networks), text)] == []


def test_operator_only_refuses_public_addresses_too() -> None:
    policy = AddressPolicy((ip_network("10.0.0.0/8"), ip_network("64:ff9b::/96")))
    assert not refused(policy, "10.0.0.1", operator_only=True)
    assert refused(policy, "8.8.8.8", operator_only=True)
    assert refused(policy, "::ffff:8.8.8.8", operator_only=True)
    assert refused(policy, "64:ff9b::8.8.8.8", operator_only=True)
    assert refused(policy, "2606:4700:4700::1111", operator_only=True)


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://api.example.com/v1/chat/completions", "https://api.example.com"),
        ("HTTPS://API.Example.COM:443/v1?alt=sse", "https://api.example.com"),
        ("https://api.example.com:8443", "https://api.example.com:8443"),
        ("https://[2606:4700:4700:0:0:0:0:1111]/", "https://[2606:4700:4700::1111]"),
        ("https://1.1.1.1/v1/models/a:generate", "https://1.1.1.1"),
        ("https://xn--bcher-kva.example/", "https://xn--bcher-kva.example"),
        ("http://ollama:11434/v1", "http://ollama:11434"),
        ("http://192.168.1.2/", "http://192.168.1.2"),
    ],
)
def test_a_url_has_one_canonical_origin(url: str, origin: str) -> None:
    assert str(check_url(url, allow_plain_http=True, ports=None)) == origin


@pytest.mark.parametrize(
    "url",
    [
        "",
        "api.example.com/v1",
        "//api.example.com/v1",
        "https:/api.example.com",
        "https:///v1",
        "https://",
        "ftp://api.example.com/",
        "file:///etc/passwd",
        "unix:///run/app.sock",
        "gopher://127.0.0.1:70/_x",
        "https://user@api.example.com/",
        "https://user:pass@api.example.com/",
        "https://api.example.com@127.0.0.1/",
        "https://127.0.0.1#@api.example.com/",
        "https://api.example.com/#fragment",
        "https://api.example.com/ v1",
        "https://api.example.com/\r\nHost: x",
        "https://api.example.com/\x00",
        "https://api.example.com/\n",
        "\nhttps://api.example.com/",
        " https://api.example.com/",
        "https://api.example.com\\@127.0.0.1/",
        "https:\\\\127.0.0.1/",
        "https://bücher.example/",
        "https://①②⑦.0.0.1/",
        "https://127。0。0。1/",
        "https://api%2eexample.com/",
        "https://%31%32%37.0.0.1/",
        "https://2130706433/",
        "https://0x7f000001/",
        "https://0x7f.1/",
        "https://0X7F.0.0.1/",
        "https://0177.0.0.1/",
        "https://017700000001/",
        "https://127.1/",
        "https://127.0.1/",
        "https://127.0.0.1.2/",
        "https://127.0.0.01/",
        "https://127.0.0.256/",
        "https://1.2.3.0x4/",
        "https://example.0x/",
        "https://example.1/",
        "https://api.example.com./",
        "https://.example.com/",
        "https://a..b/",
        "https://-a.example/",
        "https://a-.example/",
        f"https://{'a' * 64}.example/",
        f"https://{'a.' * 127}example/",
        "https://[::1/",
        "https://::1/",
        "https://[::1%25eth0]/",
        "https://[fe80::1%eth0]/",
        "https://[127.0.0.1]/",
        "https://[api.example.com]/",
        "https://[1:2:3]/",
        "https://[v1.x]/",
        "https://api.example.com:/",
        "https://api.example.com:0/",
        "https://api.example.com:00443/",
        "https://api.example.com:65536/",
        "https://api.example.com:99999/",
        "https://api.example.com:443:443/",
        "https://api.example.com:-1/",
        "https://api.example.com:４４３/",
        "https://api.example.com/" + "a" * 8192,
        'https://api.example.com/"<>',
    ],
)
def test_a_url_that_parsers_may_read_differently_is_rejected(url: str) -> None:
    with pytest.raises(ForbiddenUrl) as refusal:
        check_url(url, allow_plain_http=True, ports=None)
    assert "api.example" not in refusal.value.reason


def test_plain_http_and_other_ports_are_rejected_unless_enabled() -> None:
    for url in ("http://api.example.com/", "https://api.example.com:6443/", "https://api.example.com:22/"):
        with pytest.raises(ForbiddenUrl, match="operator allows"):
            check_url(url, allow_plain_http=False)
    assert check_url("https://api.example.com:8443/", allow_plain_http=False).port == 8443
    assert check_url("https://a.example:6443/", allow_plain_http=False, ports=frozenset({6443})).port == 6443


def test_plain_http_and_other_ports_need_the_operators_networks() -> None:
    assert not needs_operator(Origin("https", "a.example", 443))
    assert not needs_operator(Origin("https", "a.example", 8443))
    assert needs_operator(Origin("http", "a.example", 443))
    assert needs_operator(Origin("https", "a.example", 80))
    assert frozenset({443, 8443}) == STANDARD_PORTS


@given(st.text())
def test_any_text_is_an_origin_or_refused(text: str) -> None:
    for url in (text, f"https://{text}", f"https://a.example/{text}"):
        try:
            origin = check_url(url, allow_plain_http=False)
        except ForbiddenUrl:
            continue
        assert url.isascii()
        assert str(check_url(f"{origin}/", allow_plain_http=False)) == str(origin)
