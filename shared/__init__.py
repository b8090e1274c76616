"""Code that all services depend on: settings, errors, jobs, models. Imports no service."""
