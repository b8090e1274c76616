"""Runs the models command with the process's arguments and environment."""

import sys

from ops.models.command import main

if __name__ == "__main__":
    sys.exit(main())
