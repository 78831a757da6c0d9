"""The background work on events: durable readers of the feed, and timers."""
