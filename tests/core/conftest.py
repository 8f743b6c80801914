"""The pure core needs no database and no loop; its tests take a second."""

import os

from hypothesis import settings

# Enough to find each of the defects put in on purpose, and few enough to run at every save.
settings.register_profile("core", max_examples=50, deadline=None, derandomize="CI" in os.environ)
settings.load_profile("core")
