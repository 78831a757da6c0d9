"""Read models: how they are kept, built again, replaced and verified."""
