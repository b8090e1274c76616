"""What must be right before a deploy: all of it is looked at, and all that is wrong is told at once."""
