"""Makes `python -m attnmon` the command `attnmon`, for where scripts are not on the path."""

import sys

from attnmon_renderer.commands import main

if __name__ == "__main__":
    sys.exit(main())
