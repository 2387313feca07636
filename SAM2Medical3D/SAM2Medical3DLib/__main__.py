"""``python -m SAM2Medical3DLib``."""

import sys

from .cli.main import main

sys.exit(main())
