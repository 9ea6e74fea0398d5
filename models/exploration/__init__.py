"""A bounded part of the lists for new items, what it has shown, and what it would have earned."""
