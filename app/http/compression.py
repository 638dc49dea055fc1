"""Answers made smaller for whoever takes them so: `Accept-Encoding`, https://www.rfc-editor.org/rfc/rfc9110#field.accept-encoding."""

import asyncio
import re
import zlib
from collections.abc import Callable, Mapping

from backports import zstd
from starlette.datastructures import Headers

from app.http.answers import Answer

#: Bytes below which packing saves nothing worth its time.
SMALLEST = 1_024
#: Bytes above which packing is done beside the loop, which it would hold up.
LARGE = 200_000
#: What JSON loses most of its size by; each level above takes more time than the network saves.
_GZIP_LEVEL, _ZSTD_LEVEL = 1, 3
#: A longer header names nothing that we have.
_LONGEST = 1_000
_QUALITY = re.compile(r"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?")


def _zstd(body: bytes) -> bytes:
    return zstd.compress(body, _ZSTD_LEVEL)


def _gzip(body: bytes) -> bytes:
    packer = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    return packer.compress(body) + packer.flush()


#: The codings that there are, the best first: of an answer of 25 kB zstd leaves 15 % in 40 us, gzip 17 % in 70.
CODINGS: Mapping[str, Callable[[bytes], bytes]] = {"zstd": _zstd, "gzip": _gzip}


def choose_coding(accept_encoding: str) -> str | None:
    """Choose the coding that a client likes best, of equals ours; None where it takes none, or likes the plain bytes better."""
    liked = _qualities(accept_encoding)
    if "x-gzip" in liked:
        liked.setdefault("gzip", liked["x-gzip"])
    others = liked.get("*", 0.0)
    best = max(CODINGS, key=lambda coding: liked.get(coding, others))  # the first of equals
    quality = liked.get(best, others)
    return best if quality > 0 and quality >= liked.get("identity", 0.0) else None


def _qualities(accept_encoding: str) -> dict[str, float]:
    """Read how much each coding is liked, from 0 to 1; one whose quality is none is not taken."""
    found: dict[str, float] = {}
    for item in accept_encoding.lower().split(",") if len(accept_encoding) <= _LONGEST else ():
        name, _, parameter = item.partition(";")
        key, _, quality = parameter.partition("=")
        if key.strip() != "q":
            found[name.strip()] = 1.0
        else:
            found[name.strip()] = float(quality) if _QUALITY.fullmatch(quality := quality.strip()) else 0.0
    return found


async def pack(answer: Answer, headers: Headers) -> None:
    """Make a long answer smaller, for whoever takes it so."""
    if len(answer.body) < SMALLEST:
        return
    answer.headers["vary"] = "accept-encoding"
    coding = choose_coding(",".join(headers.getlist("accept-encoding")))
    if coding is not None:
        coded = CODINGS[coding]
        answer.body = await asyncio.to_thread(coded, answer.body) if len(answer.body) > LARGE else coded(answer.body)
        answer.headers["content-encoding"] = coding
