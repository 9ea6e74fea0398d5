"""How items without interactions take over the scores of seen ones, in closed form."""
