"""The OpenAPI 3.1 document, from the same tables as the routes."""

from craton.adapters.http.openapi.document import Described, document

__all__ = ["Described", "document"]
