"""Where webhooks may be sent: which URLs are ones, and which addresses are nobody's private network."""

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from socket import inet_aton
from urllib.parse import urlsplit

import idna

from app.rules.texts import TooLongError, read_line

LONGEST = 2_000

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

#: Names that mean this machine or the network around it.
_LOCAL_NAMES = ("localhost", "local", "internal", "intranet", "lan", "home", "corp", "home.arpa", "localdomain")
#: Prefixes of IPv6 under which an IPv4 address is reached: NAT64 (RFC 6052, RFC 8215), 6to4 (RFC 3056); the bits above the address.
_EMBEDDED = (
    (IPv6Network("64:ff9b::/96"), 0),
    (IPv6Network("64:ff9b:1::/48"), 0),
    (IPv6Network("2002::/16"), 80),
    (IPv6Network("::/96"), 0),
)


@dataclass(frozen=True, slots=True)
class Allowed:
    """What may be reached although it is private: host names, and networks."""

    names: frozenset[str]
    networks: tuple[Network, ...]

    @classmethod
    def of(cls, text: str) -> "Allowed":
        """Read a list of names, addresses and networks, commas between them. Raises ValueError for an empty name in it."""
        names, networks = set(), []
        for part in filter(None, (each.strip().lower() for each in text.split(","))):
            try:
                networks.append(ip_network(part, strict=False))
            except ValueError:
                names.add(part)
        return cls(frozenset(names), tuple(networks))


NOTHING = Allowed(frozenset(), ())


def read_webhook_url(value: str, allowed: Allowed = NOTHING) -> str:
    """Read a URL that webhooks may be sent to, as far as its text tells: `http` or `https`, a public host, no user in it.

    Raises ValueError with the rule that it breaks. A name may still stand for a private address: that shows when it is connected to.
    """
    text = read_line(value)
    if text is None:
        raise ValueError("is blank")
    if len(text) > LONGEST:
        raise TooLongError(f"is longer than {LONGEST:,} characters")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError("is no URL") from error
    if parts.scheme not in ("http", "https") or not host or any(character.isspace() or character == "\\" for character in text):
        raise ValueError("is no http or https URL")
    if parts.username is not None or parts.password is not None:
        raise ValueError("has a user name or password in it, which everybody could read")
    if port == 0:
        raise ValueError("has a port that is none")
    check_host(host, allowed)
    return text


def check_host(host: str, allowed: Allowed = NOTHING) -> None:
    """Raise ValueError for a host that is, or by its name must be, on a private network."""
    name = host.lower().rstrip(".")
    if name in allowed.names:
        return
    if (address := literal_address(name)) is not None:
        if not may_reach(address, allowed):
            raise ValueError("is an address of a private network")
        return
    if not name.isascii():
        try:
            name = idna.encode(name, uts46=True).decode()
        except idna.IDNAError as error:
            raise ValueError("has a host name that is none") from error
    if "." not in name or any(name == local or name.endswith(f".{local}") for local in _LOCAL_NAMES):
        raise ValueError("is a name of a private network")
    if name.rpartition(".")[2].isdigit():
        raise ValueError("has a host name that is none")


def literal_address(host: str) -> Address | None:
    """Read an address in any of the forms that resolvers take for one: `127.1`, `2130706433`, `0x7f000001`, `::1`."""
    try:
        return ip_address(host.partition("%")[0])
    except ValueError:
        pass
    try:
        return IPv4Address(inet_aton(host)) if host and not any(character.isspace() for character in host) else None
    except (OSError, UnicodeEncodeError):
        return None


def may_reach(address: Address, allowed: Allowed = NOTHING) -> bool:
    """Tell whether an address is of the public Internet, or allowed by name; what only wraps an IPv4 address is judged by that."""
    addresses = [address, *_wrapped(address)]
    return all(_is_public(each) or _is_in(each, allowed.networks) for each in addresses) or _is_in(address, allowed.networks)


def _is_public(address: Address) -> bool:
    return address.is_global and not address.is_multicast and not address.is_reserved


def _is_in(address: Address, networks: Sequence[Network]) -> bool:
    return any(address.version == network.version and address in network for network in networks)


def _wrapped(address: Address) -> list[Address]:
    if isinstance(address, IPv4Address):
        return []
    if address.ipv4_mapped is not None:
        return [address.ipv4_mapped]
    return [IPv4Address(int(address) >> shift & 0xFFFFFFFF) for network, shift in _EMBEDDED if address in network]
