"""`python -m greenroom.media`: check every conversion of pictures against exact arithmetic."""

import sys

from greenroom.media.video_table import main

if __name__ == "__main__":
    sys.exit(main())
