"""The versions of the models: found, loaded, warmed up, served, and gone again."""
