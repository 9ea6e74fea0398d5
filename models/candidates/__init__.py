"""The index of a large catalogue: the items that deserve a full score, without looking at all."""
