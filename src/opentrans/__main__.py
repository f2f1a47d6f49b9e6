"""``python -m opentrans``."""

import sys

from opentrans.cli import main

sys.exit(main())
