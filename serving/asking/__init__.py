"""What the clients ask: questions, the connection they go over, and their messages on the wire."""
