"""What a call passes on its way to the models: TLS, tokens, limits, the access log."""
