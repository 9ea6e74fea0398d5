"""Changes a served catalogue without training: products come, change and leave."""
