"""First interactions of a new item: what they say, and how much they count."""
