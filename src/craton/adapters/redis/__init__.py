"""A cache that processes share, in Redis."""

from craton.adapters.redis.cache import RedisCache

__all__ = ["RedisCache"]
