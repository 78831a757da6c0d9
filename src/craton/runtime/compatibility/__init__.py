"""Whether the program and what its stores hold fit together; found out at each start."""
