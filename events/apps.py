from django.apps import AppConfig
from django.core import checks


class EventsConfig(AppConfig):
    name = "events"
    verbose_name = "Events"

    def ready(self) -> None:
        from events.checks import check_database, check_layer, check_settings

        for check in (check_settings, check_layer, check_database):
            checks.register(check)
