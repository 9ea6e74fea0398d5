"""`debut console`: one page about a root and the model server beside it.

`shelf` reads what a version knows of items and customers, `records` what was measured of it,
`desk` puts that together with the model server's answers, `app` speaks HTTP, and `page/` is what
the browser gets.
"""
