"""The output of all programs and of supervisord, in one log format."""
