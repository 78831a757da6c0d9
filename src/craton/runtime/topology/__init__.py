"""Which modules run in which service, and where each service is found."""

from craton.runtime.topology.file import read_topology
from craton.runtime.topology.topology import Address, GatewayPlan, Service, Topology

__all__ = ["Address", "GatewayPlan", "Service", "Topology", "read_topology"]
