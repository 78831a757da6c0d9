"""What goes on in the background: durable readers of the feed, and timers."""
