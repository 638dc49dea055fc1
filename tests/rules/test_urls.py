import re
import time

import pytest

from app.rules.urls import parse_url


@pytest.mark.parametrize(
    "text",
    [
        "https://example.com",
        "HTTP://Example.com:8080/a?b=c#d",
        "www.example.com",
        "linkedin.com/in/mariedubois",
        "example.com:8080/a",
        "example.com:8080",
        "https://example.com?q=1",
        "https://bücher.de/straße",
        "//example.com/a",
        "https://192.168.0.1/",
        "https://my_host.example.com.",
        "https://example.com/in/%C3%A9lodie",
    ],
)
def test_a_web_address_is_kept_as_given(text: str):
    assert parse_url(f" {text}\t") == text


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("javascript:alert(1)", "has another scheme than http or https"),
        ("JavaScript:alert(1)//example.com", "has another scheme than http or https"),
        ("data:text/html;base64,x", "has another scheme than http or https"),
        ("ftp://example.com", "has another scheme than http or https"),
        ("mailto:a@example.com", "has another scheme than http or https"),
        ("example.com:javascript", "has another scheme than http or https"),
        ("https://exa mple.com", "holds white space"),
        ("https://example.com/a\nb", "holds white space"),
        ("https://example.com/a\x00b", "holds a control character"),
        ("https://example.com/\u202etxt", "holds a control character"),
        ("java\u200bscript:alert(1)", "holds a control character"),
        ("localhost", "has no host name with a dot, as in https://example.com"),
        ("http://", "has no host name with a dot, as in https://example.com"),
        ("https:/example", "has no host name with a dot, as in https://example.com"),
        ("https://user:word@example.com", "has no host name with a dot, as in https://example.com"),
        ("https://example..com", "has no host name with a dot, as in https://example.com"),
        ("https://example.com:port", "has no host name with a dot, as in https://example.com"),
        ("n/a", "has no host name with a dot, as in https://example.com"),
    ],
)
def test_what_is_no_web_address_is_refused_with_the_rule(text: str, rule: str):
    with pytest.raises(ValueError, match=f"^{re.escape(rule)}$"):
        parse_url(text)


def test_bait_is_answered_at_once():
    for bait in ("a." * 5_000, "http://" + "a-" * 5_000, "a:" * 5_000, "http://" + "a." * 5_000 + "@"):
        start = time.thread_time()
        with pytest.raises(ValueError, match="has"):
            parse_url(bait + "@@")
        assert time.thread_time() - start < 1
