"""Smaller encoders: students that are taught by the full one, int8 weights, pruned weights."""
