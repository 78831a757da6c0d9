"""What counts as one address of the network."""

from ipaddress import IPv4Address, ip_address, ip_network

from starlette.types import Scope


def address_of_client(scope: Scope) -> str:
    """Where a request comes from; empty if that isn't known."""
    client = scope.get("client")
    return address_of(client[0]) if client else ""


def address_of(host: str) -> str:
    """What counts as one address: of IPv6 a network of 64 bits, for whoever has one address there has all of them."""
    try:
        address = ip_address(host)
    except ValueError:
        return ""
    if isinstance(address, IPv4Address):
        return str(address)
    return str(address.ipv4_mapped or ip_network((address, 64), strict=False))
