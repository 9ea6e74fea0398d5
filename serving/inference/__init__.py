"""The methods over a loaded version: Predict, and those over examples."""
