"""Who is calling: one spelling per address, and forwarded headers only from proxies that the operator named.

Every decision by address (rate limits, allow-lists, audit events, logs) reads `scope["client"]`, which
`middleware.client_address` fills with what this module finds.
"""

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

LOCAL = "local"
"""Stands for a caller without an IP address, on a unix socket; it is in no network that anything allows."""

IPAddress = IPv4Address | IPv6Address


class TrustedProxies:
    """The networks whose `X-Forwarded-For` is believed; none by default.

    Raises:
        ValueError: an entry is not an address or CIDR, or it trusts the whole internet.
    """

    def __init__(self, cidrs: Iterable[str] = ()) -> None:
        self._networks = []
        for cidr in cidrs:
            try:
                network = ip_network(cidr.strip())
            except ValueError:
                raise ValueError(
                    f"AUTHAPI_PROXY__TRUSTED: {cidr!r} is not an address or network such as 10.0.0.0/8"
                ) from None
            if network.prefixlen == 0:
                # Trusting everybody lets each client choose the address that it is limited and admitted by.
                raise ValueError(f"AUTHAPI_PROXY__TRUSTED: {cidr!r} trusts everybody; name the proxies")
            self._networks.append(network)

    def __contains__(self, address: IPAddress) -> bool:
        return any(address in network for network in self._networks)


@lru_cache(maxsize=4096)
def parse_address(text: str) -> IPAddress | None:
    """Read an address as sockets and proxies write it, or return None.

    Brackets, a port and a zone id are dropped and an IPv4-mapped IPv6 address becomes IPv4: otherwise each
    spelling would be an address of its own, with limits of its own.
    """
    text = text.strip()
    if text.startswith("["):
        text, bracket, port = text[1:].partition("]")
        if not bracket or (port and not _is_port(port)):
            return None
    elif text.count(":") == 1:
        text, _, port = text.partition(":")
        if not _is_port(f":{port}"):
            return None
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def client_address(peer: str | None, forwarded_for: Iterable[str], trusted: TrustedProxies) -> str:
    """Return the address of the client in its canonical spelling, or `local`.

    `peer` is the other end of the socket and `forwarded_for` holds the `X-Forwarded-For` lines in their
    order. The walk goes right to left, because each proxy appends whom it saw and only the left part is the
    client's to invent; it ends at the first address that is no trusted proxy. What cannot be read ends it
    too, at the last proxy that vouched for itself (django-allauth 65.14.2, authentik CVE-2023-36456).
    """
    address = parse_address(peer or "")
    if address is None:
        return LOCAL
    hops = ",".join(forwarded_for).split(",")
    while hops and address in trusted:
        hop = parse_address(hops.pop())
        if hop is None:
            break
        address = hop
    return str(address)


def rate_limit_key(address: str, *, ipv6_prefix: int = 64) -> str:
    """Return what an address is counted by: itself for IPv4, its /64 for IPv6, `local` for anything else.

    One subscriber gets a /64, so 2^64 addresses must not mean 2^64 allowances (better-auth CVE-2026-45364).
    """
    parsed = parse_address(address)
    if parsed is None:
        return LOCAL
    if isinstance(parsed, IPv6Address):
        return str(ip_network((parsed, ipv6_prefix), strict=False))
    return str(parsed)


def _is_port(text: str) -> bool:
    digits = text[1:]
    return text[0] == ":" and digits.isascii() and digits.isdigit() and len(digits) <= 5
