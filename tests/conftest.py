"""How hypothesis runs here: no deadline, as machines are noisy; in CI the same examples each time.

The data cache is off, in the commands that tests start as well: a test reads the files that it made.
"""

from __future__ import annotations

import os

from hypothesis import settings

os.environ["MTL_CACHE_DIR"] = ""
settings.register_profile("mtl", deadline=None, derandomize=bool(os.environ.get("CI")), print_blob=True)
settings.load_profile("mtl")
