"""A data folder becomes the catalogue and the interactions that everything else reads."""
