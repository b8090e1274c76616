"""What happens between the start of the container and supervisord."""
