from django.apps import AppConfig
from django.core import checks

from jarvis_site import reactor as reactor  # before Daphne's app imports Daphne's server


class JarvisSiteConfig(AppConfig):
    name = "jarvis_site"
    verbose_name = "Jarvis"

    def ready(self) -> None:
        from jarvis_site.checks import check_address, check_channel_layer, check_logging

        for check in (check_logging, check_address, check_channel_layer):
            checks.register(check)
