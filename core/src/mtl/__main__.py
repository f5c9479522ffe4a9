"""`python -m mtl` is `mtl`."""

import sys

from mtl.commands import main

sys.exit(main())
