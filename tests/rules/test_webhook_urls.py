from ipaddress import ip_address

import pytest

from app.rules.webhook_urls import Allowed, literal_address, may_reach, read_webhook_url

PUBLIC = [
    "https://hooks.example.com/a?b=c",
    "http://example.com:8080",
    "https://bücher.example.com/",
    "https://93.184.215.14/",
    "HTTPS://EXAMPLE.COM",
]
NO_URLS = [
    "", "hooks.example.com", "ftp://example.com", "file:///etc/passwd", "https://", "https:///path", "https://exa mple.com", "http://[::1",
    "https://ann:secret@example.com/", "https://example.com:0/", "https://example.com:99999/", "https://example.com\\@10.0.0.1/",
    "javascript:alert(1)", "https://1.2.3.4.5/", "https://example.com/" + "a" * 2_000, "https://example.com/\r\nx: y",
]  # fmt: skip


@pytest.mark.parametrize("url", PUBLIC)
def test_a_public_url_is_kept_as_it_is(url):
    assert read_webhook_url(f" {url} ") == url


@pytest.mark.parametrize("url", NO_URLS)
def test_what_is_no_url_is_refused(url):
    with pytest.raises(ValueError, match=r"^(is|has|holds) "):
        read_webhook_url(url)


@pytest.mark.parametrize("host", ["127.1", "2130706433", "0x7f000001", "0177.0.0.1", "127.0.0.1", "0x7f.1"])
def test_an_address_is_known_in_every_form_that_resolvers_take(host):
    assert literal_address(host) == ip_address("127.0.0.1")
    for written in (f"http://{host}/", f"http://{host}./"):
        with pytest.raises(ValueError, match="private network"):
            read_webhook_url(written)


@pytest.mark.parametrize(
    "address",
    ["10.1.2.3", "127.0.0.1", "169.254.169.254", "100.64.0.1", "224.0.0.1", "255.255.255.255", "192.168.0.1", "172.31.0.1",
     "0.0.0.1", "::", "::1", "fe80::1", "fd00::1", "ff02::1", "::ffff:10.0.0.1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::",
     "::7f00:1"],
)  # fmt: skip
def test_a_private_address_is_not_reached_however_it_is_wrapped(address):
    assert not may_reach(ip_address(address))


@pytest.mark.parametrize("address", ["8.8.8.8", "93.184.215.14", "2606:4700:4700::1111"])
def test_a_public_address_is(address):
    assert may_reach(ip_address(address))


def test_what_the_settings_name_may_be_reached():
    allowed = Allowed.of("127.0.0.1, 10.0.0.0/8, Printer.local,,fd00::/8")
    for url in ("http://127.0.0.1/", "http://10.9.8.7/", "http://printer.LOCAL:9/", "http://[fd00::5]/"):
        assert read_webhook_url(url, allowed) == url
    for url in ("http://127.0.0.2/", "http://192.168.0.1/", "http://other.local/", "http://localhost/"):
        with pytest.raises(ValueError, match="private network"):
            read_webhook_url(url, allowed)
