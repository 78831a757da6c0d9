"""Identity: users, and how they prove who they are."""
