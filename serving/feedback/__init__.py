"""The feedback log: what was shown to whom with which probability, and what came of it."""
