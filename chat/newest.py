"""The newest messages of a session, as many as anybody can use: what is longer than that is not read at all."""

from django.db.models import QuerySet
from django.db.models.functions import Length

from chat.models import Message

MAX_MESSAGES = 200


def newest(messages: QuerySet[Message], characters: int) -> QuerySet[Message]:
    """The newest first, at most `MAX_MESSAGES`; the turns before so many characters are left out.

    200 messages may have 200 MB. The database counts them where they are; here they would be in memory many times.
    """
    lengths = messages.order_by("-position").values_list("position", Length("text"))[:MAX_MESSAGES]
    first, room = 0, characters
    for position, length in lengths:
        if room <= 0:
            break
        first = position - position % 2  # its turn's prompt
        room -= length
    return messages.filter(position__gte=first).order_by("-position")[:MAX_MESSAGES]
