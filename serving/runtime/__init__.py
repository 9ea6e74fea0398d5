"""A loaded version's graph: how it is loaded, fed and run, alone or in batches."""
