"""What all services agree on: settings, errors, jobs, payloads, models. Imports no service."""
