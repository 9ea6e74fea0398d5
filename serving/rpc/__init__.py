"""The gRPC services, and how a handler's failure becomes a status."""
