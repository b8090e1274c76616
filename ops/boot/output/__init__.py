"""What the appliance prints: the output of all programs and of supervisord, in the one log shape."""
