"""For users: suites and tools that prove adapters and modules. Needs pytest."""
