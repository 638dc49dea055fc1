"""Web addresses: kept as given, refused where a click on them would do anything but open a page."""

import re
from unicodedata import category

# What nearly every address looks like; all else takes the long way.
_PLAIN = re.compile(r"(?:[Hh][Tt][Tt][Pp][Ss]?://)?(?:[A-Za-z0-9-]+\.)+[A-Za-z][A-Za-z0-9-]*(?:/[!-~]*)?")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_PORT = re.compile(r":[0-9]{1,5}\Z")
_END_OF_HOST = re.compile(r"[/?#\\]")
# A host's labels hold none of the forbidden host code points of the WHATWG URL standard, 3.2.
_LABEL = r"[^\x00-\x20\x7f.#/:<>?@\[\\\]^|%\"`{}'&$!*+,;=()~]+"
_HOST = re.compile(rf"(?:{_LABEL}\.)+{_LABEL}\.?")


def parse_url(text: str) -> str:
    """Give the address as given, trimmed; raise ValueError with the rule that it breaks.

    http and https alone, or no scheme at all: people write `www.example.com` and `linkedin.com/in/x`.
    """
    url = text.strip()
    if _PLAIN.fullmatch(url):
        return url
    for character in url:
        if character.isspace():
            raise ValueError("holds white space")
        if not character.isprintable() and category(character) in {"Cc", "Cf", "Cs"}:
            raise ValueError("holds a control character")
    if not _HOST.fullmatch(_host(url)):
        raise ValueError("has no host name with a dot, as in https://example.com")
    return url


def _host(url: str) -> str:
    scheme = _SCHEME.match(url)
    rest = url[scheme.end() :] if scheme else url
    if scheme and scheme[1].lower() not in {"http", "https"}:
        # `example.com:8080/a` begins like a scheme, and is none.
        if "." not in scheme[1] or not rest[:1].isdigit():
            raise ValueError("has another scheme than http or https")
        rest = url
    rest = rest.removeprefix("//")
    return _PORT.sub("", _END_OF_HOST.split(rest, maxsplit=1)[0])
