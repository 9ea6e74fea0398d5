"""Changes what a served model explores, by what the feedback log says."""
