"""The tests themselves run in plain Python, whose parts they replace; the servers that they start are compiled."""

import os

os.environ["EVENTS_COMPILED"] = "false"
from jarvis_site.settings import *  # noqa: F403

del os.environ["EVENTS_COMPILED"]
os.environ["DJANGO_SETTINGS_MODULE"] = "jarvis_site.settings"  # for the processes that they start
