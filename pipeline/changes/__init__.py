"""Versions that are made of a pushed one without training: items, exploration, going back."""
