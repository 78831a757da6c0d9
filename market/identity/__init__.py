"""Identity: who is who."""
