"""The process itself: its settings, its event loop, its memory."""
