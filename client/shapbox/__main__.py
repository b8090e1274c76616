"""`python -m shapbox` is the command `shapbox`."""

import sys

from shapbox.command import main

sys.exit(main())
