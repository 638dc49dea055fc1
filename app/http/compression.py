"""Answers made smaller for whoever takes them so: `Accept-Encoding`, https://www.rfc-editor.org/rfc/rfc9110#field.accept-encoding."""

import asyncio
import zlib

#: Bytes below which packing saves nothing worth its time.
SMALLEST = 1_024
#: Bytes above which packing is done beside the loop, which it would hold up.
LARGE = 200_000
#: What JSON loses most of its size by; each level above takes more time than the network saves.
LEVEL = 1


def accepts_gzip(accept_encoding: str) -> bool:
    """Tell whether a client takes gzip: it names it, or `*`, and not with a quality of 0."""
    accepted: dict[str, bool] = {}
    for item in accept_encoding.lower().split(",") if len(accept_encoding) <= 1_000 else ():
        name, _, parameter = item.partition(";")
        key, _, quality = parameter.partition("=")
        try:
            accepted[name.strip()] = key.strip() != "q" or float(quality) > 0
        except ValueError:
            accepted[name.strip()] = False
    return accepted.get("gzip", accepted.get("x-gzip", accepted.get("*", False)))


async def gzipped(body: bytes) -> bytes:
    """Pack a body."""
    return await asyncio.to_thread(_pack, body) if len(body) > LARGE else _pack(body)


def _pack(body: bytes) -> bytes:
    packer = zlib.compressobj(LEVEL, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    return packer.compress(body) + packer.flush()
