"""Addresses are parsed once, and a wrong one is refused with a reason."""

import pytest

from proxy.settings.addresses import (
    TcpAddress,
    UnixAddress,
    UpstreamUrl,
    parse_listen,
    parse_network,
    parse_upstream,
)


@pytest.mark.parametrize(
    ("text", "address", "local"),
    [
        ("0.0.0.0:8080", TcpAddress("0.0.0.0", 8080), False),
        ("127.0.0.1:0", TcpAddress("127.0.0.1", 0), True),
        ("[::1]:8080", TcpAddress("::1", 8080), True),
        ("[::]:65535", TcpAddress("::", 65535), False),
        ("localhost:80", TcpAddress("localhost", 80), True),
        ("gallery.internal:80", TcpAddress("gallery.internal", 80), False),
        ("unix:/run/cutover.sock", UnixAddress("/run/cutover.sock"), True),
    ],
)
def test_a_place_to_listen_is_read_and_written_back(text: str, address: TcpAddress | UnixAddress, local: bool) -> None:
    assert parse_listen(text) == address
    assert str(address) == text
    assert address.is_local is local


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "expected host:port"),
        ("8080", "expected host:port"),
        (":8080", "expected host:port"),
        ("::1:8080", "in brackets"),
        ("[::1:8080", "in brackets"),
        ("[nonsense]:80", "IPv6 address inside"),
        ("host:", "a port from 0 to 65535"),
        ("host:65536", "a port from 0 to 65535"),
        ("host:-1", "a port from 0 to 65535"),
        ("256.0.0.1:80", "four numbers"),
        ("a b:80", "expected host:port"),
        ("unix:run/x.sock", "absolute socket path"),
        ("unix:" + "/x" * 60, "at most 107 bytes"),
    ],
)
def test_a_wrong_place_to_listen_is_refused_with_a_reason(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_listen(text)


@pytest.mark.parametrize(
    ("text", "url", "authority", "written"),
    [
        ("http://127.0.0.1:3000", UpstreamUrl("http", "127.0.0.1", 3000), "127.0.0.1:3000", None),
        (
            "https://images.example.com",
            UpstreamUrl("https", "images.example.com", 443),
            "images.example.com",
            None,
        ),
        ("https://h:443/", UpstreamUrl("https", "h", 443), "h", "https://h"),
        ("http://h/a/b/", UpstreamUrl("http", "h", 80, "/a/b"), "h", "http://h/a/b"),
        ("http://h/%2e%2F", UpstreamUrl("http", "h", 80, "/%2e%2F"), "h", None),
        ("http://[::1]:8080/x", UpstreamUrl("http", "::1", 8080, "/x"), "[::1]:8080", None),
        ("http://[::1]", UpstreamUrl("http", "::1", 80), "[::1]", None),
        (
            "http://image_service:80",
            UpstreamUrl("http", "image_service", 80),
            "image_service",
            "http://image_service",
        ),
        ("unix:/run/g.sock", UpstreamUrl("unix", "", 0, "", "/run/g.sock"), "localhost", None),
        (
            "unix:///run/g.sock",
            UpstreamUrl("unix", "", 0, "", "/run/g.sock"),
            "localhost",
            "unix:/run/g.sock",
        ),
    ],
)
def test_an_upstream_is_read_and_written_back(text: str, url: UpstreamUrl, authority: str, written: str | None) -> None:
    assert parse_upstream(text) == url
    assert url.authority == authority
    assert str(url) == (written or text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "expected a URL"),
        ("images.example.com", "expected a URL such as"),
        ("ftp://h", "scheme http, https or unix"),
        ("HTTP://h", "scheme http, https or unix"),
        ("http://", "with a host"),
        ("http:///x", "with a host"),
        ("http://:80", "with a host"),
        ("http://u:p@h", "without user name or password"),
        ("http://@h", "without user name or password"),
        ("http://h?x=1", "without a query"),
        ("http://h/?", "without a query"),
        ("http://h/#x", "without a fragment"),
        ("http://h:0", "a port from 1 to 65535"),
        ("http://h:", "a port from 1 to 65535"),
        ("http://h:80:80", "a port from 1 to 65535"),
        ("http://[::1", "expected a URL"),
        ("http://[::1]x", "expected a URL"),
        ("http://h/a b", "without spaces"),
        ("http://h/\n", "without spaces"),
        ("http://h\\@x", "without spaces"),
        ("http://bücher.example", "non-ASCII"),
        ("http://h/a/../b", "without . and .. segments"),
        ("unix:g.sock", "absolute socket path"),
    ],
)
def test_a_wrong_upstream_is_refused_with_a_reason(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_upstream(text)


def test_a_range_of_addresses_starts_at_its_first() -> None:
    assert str(parse_network("10.0.0.0/8")) == "10.0.0.0/8"
    assert str(parse_network("::1")) == "::1/128"
    with pytest.raises(ValueError, match=r"first address of the range \(10.0.0.0/8\)"):
        parse_network("10.1.2.3/8")
    with pytest.raises(ValueError, match="address range such as"):
        parse_network("everybody")
