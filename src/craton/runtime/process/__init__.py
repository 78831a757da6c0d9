"""The process itself: its event loop, its memory, its wake-ups, and what of its stack is the application's."""
