"""First interactions of a new item: what they say, how much they count, and where they go."""
