from django.apps import AppConfig
from django.core.checks import register


class ChatConfig(AppConfig):
    name = "chat"
    verbose_name = "Chat"

    def ready(self) -> None:
        from chat import checks, deletion  # noqa: F401  (its models are ready only now; deletion listens)

        register(checks.check_policy)
        register(checks.check_provider)
