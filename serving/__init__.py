"""The embedded model server, the client, and the files that deploy the stock server."""
