"""The REST api: Falcon on waitress."""
