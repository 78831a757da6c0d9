"""gRPC: the services of all modules under one port."""

from craton.adapters.grpc.server import GrpcServer

__all__ = ["GrpcServer"]
