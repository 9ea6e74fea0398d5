"""Who and what gets to be seen: measures of exposure, and lists that even it out."""
