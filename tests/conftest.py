"""How hypothesis runs here: no deadline, as machines are noisy; in CI the same examples each time."""

from __future__ import annotations

import os

from hypothesis import settings

settings.register_profile("mtl", deadline=None, derandomize=bool(os.environ.get("CI")), print_blob=True)
settings.load_profile("mtl")
