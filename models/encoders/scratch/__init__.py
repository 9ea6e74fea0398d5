"""An encoder of a shop's own, trained from nothing, for languages that no encoder at hand reads."""
