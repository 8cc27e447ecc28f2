"""`python -m robopref`, where the command is not on the path."""

import sys

from robopref.cli import main

if __name__ == "__main__":
    sys.exit(main())
