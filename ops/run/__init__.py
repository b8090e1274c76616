"""The steps between the start of the container and supervisord."""
