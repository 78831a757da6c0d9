"""Read models: kept, built anew, swapped in, verified."""
