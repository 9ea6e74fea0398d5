"""Rules that no model can override, and lists that keep them."""
