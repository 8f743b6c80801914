"""The indexes that `session` and `lease` have twice. Not as Django would: it copies both tables, texts and all."""

import django.db.models.deletion
from django.db import migrations, models

_SESSION = {
    "message": ("messages", "chat_message_session_id_9abc6edf"),
    "stream": ("streams", "chat_stream_session_id_2eb9004b"),
}


class Migration(migrations.Migration):
    dependencies = [("chat", "0002_tokens_not_counted")]

    operations = [
        migrations.RemoveIndex(model_name="stream", name="chat_stream_lease_i_6334c7_idx"),
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.AlterField(
                    model_name=model,
                    name="session",
                    field=models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name=name,
                        to="chat.chatsession",
                    ),
                )
                for model, (name, _) in _SESSION.items()
            ],
            database_operations=[
                migrations.RunSQL(
                    f"DROP INDEX IF EXISTS {index}",
                    f"CREATE INDEX IF NOT EXISTS {index} ON chat_{model} (session_id)",
                )
                for model, (_, index) in _SESSION.items()
            ],
        ),
    ]
