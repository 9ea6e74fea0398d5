"""The shelf: what is served about items and users, as columns that change without training."""
