"""The table of addresses that a server may not lead us to."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from p2pcdn.errors import Refused
from p2pcdn_daemon.upstream.addresses import (
    Origin,
    is_loopback,
    is_private_host,
    literal,
    refuse_inside,
    refuse_literal_inside,
    why_inside,
)

INSIDE = [
    *("0.0.0.0", "0.1.2.3", "127.0.0.1", "127.255.255.255", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.0.1"),
    *("169.254.169.254", "169.254.170.2", "100.64.0.1", "100.100.100.200", "100.127.255.255", "192.0.0.192"),
    *("168.63.129.16", "224.0.0.251", "239.255.255.255", "240.0.0.1", "255.255.255.255"),
    *("::", "::1", "fe80::1", "febf::1", "fec0::1", "fc00::1", "fd00:ec2::254", "ff02::fb", "2001:0:1::1"),
    *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:0:127.0.0.1", "::127.0.0.1", "::2"),
    *("64:ff9b::127.0.0.1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::808:808", "2002:7f00:1::", "2002:a9fe:a9fe::1"),
]
OUTSIDE = [
    *("203.0.113.7", "192.0.2.1", "198.51.100.1", "198.18.0.1", "151.101.0.223", "8.8.8.8", "1.1.1.1", "11.0.0.1"),
    *("172.15.255.255", "172.32.0.1", "100.63.255.255", "100.128.0.1", "169.253.0.1", "192.0.1.1", "223.255.255.255"),
    *(
        "2001:db8::1",
        "2a04:4e42::223",
        "2606:4700::1",
        "::ffff:203.0.113.7",
        "64:ff9b::203.0.113.7",
        "2002:cb00:7107::1",
    ),
]


@pytest.mark.parametrize("text", INSIDE)
def test_an_address_inside_is_named_and_refused(text: str) -> None:
    assert why_inside(ip_address(text))
    with pytest.raises(Refused, match="an address inside"):
        refuse_inside("host.example", [ip_address(text)])


@pytest.mark.parametrize("text", OUTSIDE)
def test_an_address_outside_passes_documentation_ranges_too(text: str) -> None:
    assert why_inside(ip_address(text)) is None
    assert refuse_inside("host.example", [ip_address(text)]) == [ip_address(text)]


def test_of_a_hosts_addresses_only_those_outside_are_left() -> None:
    mixed = [ip_address("127.0.0.1"), ip_address("203.0.113.7"), ip_address("fe80::1")]
    assert refuse_inside("host.example", mixed) == [ip_address("203.0.113.7")]
    with pytest.raises(Refused):
        refuse_inside("host.example", [])


@pytest.mark.parametrize(
    ("host", "address"),
    [
        *(
            ("127.1", "127.0.0.1"),
            ("2130706433", "127.0.0.1"),
            ("0x7f000001", "127.0.0.1"),
            ("0177.0.0.1", "127.0.0.1"),
        ),
        *(("127.0.0.1.", "127.0.0.1"), ("[::1]", "::1"), ("fe80::1%eth0", "fe80::1"), ("10.0.0.1", "10.0.0.1")),
        *(("files.example", None), ("1.example", None), ("10", "0.0.0.10"), ("", None), ("3com", None)),
    ],
)
def test_an_address_is_read_in_all_its_spellings(host: str, address: str | None) -> None:
    assert literal(host) == (None if address is None else ip_address(address))


@pytest.mark.parametrize("host", ["127.1", "localhost", "LOCALHOST.", "a.localhost", "10.1.2.3", "::ffff:a00:1", "0"])
def test_what_a_proxy_would_resolve_is_judged_as_it_is_written(host: str) -> None:
    with pytest.raises(Refused):
        refuse_literal_inside(host)


def test_a_name_that_a_proxy_resolves_passes() -> None:
    refuse_literal_inside("files.example")
    refuse_literal_inside("203.0.113.7")


def test_a_private_host_is_known_by_how_it_is_written() -> None:
    for host in ("localhost", "127.0.0.1", "::1", "10.0.0.1", "pypi", "pypi.local", "devpi.corp.internal"):
        assert is_private_host(host), host
    for host in ("index.example", "203.0.113.7", "2001:db8::1"):
        assert not is_private_host(host), host
    assert is_loopback("127.9.9.9")
    assert is_loopback("localhost")
    assert not is_loopback("10.0.0.1")


def test_an_origin_is_scheme_host_and_port() -> None:
    assert Origin.of("HTTPS://User:pw@Files.Example/a") == Origin("https", "files.example", 443)
    assert Origin.of("http://[2001:DB8::1]:8080/").authority == "[2001:db8::1]:8080"
    # An ideographic full stop is a dot once the name is encoded.
    assert Origin.of("http://127。0。0。1/").host == "127.0.0.1"


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://h/",
        "//h/",
        "h/x",
        "http://",
        "http:///x",
        "http://h:0/",
        "http://h:99999/",
        "http://u:pw@[::1/",
        "http://u:s/pw@h/",
        "http://u:s#pw@h/",
        "u:pw@h/",
    ],
)
def test_what_is_no_http_url_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(Refused) as caught:
        Origin.of(url)
    assert "pw" not in str(caught.value)
