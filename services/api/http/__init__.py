"""The HTTP server, its limits, problem documents, authentication and access log."""
