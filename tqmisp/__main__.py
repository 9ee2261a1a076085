"""``python -m tqmisp`` is the command ``tqmisp``."""

import sys

from tqmisp.cli import main

if __name__ == "__main__":
    sys.exit(main())
