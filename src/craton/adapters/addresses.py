"""The address by which requests are counted and limited."""

from functools import lru_cache
from ipaddress import IPv4Address, ip_address, ip_network


@lru_cache(maxsize=4_096)
def address_of(host: str) -> str:
    """The address that counts; empty if it is unknown.

    For IPv6 it is the network of 64 bits, because a client with one address there has them all.
    """
    try:
        address = ip_address(host)
    except ValueError:
        return ""
    if isinstance(address, IPv4Address):
        return str(address)
    return str(address.ipv4_mapped or ip_network((address, 64), strict=False))
