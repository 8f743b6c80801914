"""A prompt as it arrives: its schema, and the request that the transactions of a stream work on."""

import hashlib
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal
from uuid import UUID

from django.conf import settings
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    field_validator,
)

from chat.exceptions import InvalidRequest
from chat.json_body import read_json
from chat.schemas import refusal
from events.core.event import storable

PROMPT_MAX_CHARACTERS = 200_000  # beside the body's own limit; a text no model here could take in

Number = Annotated[float, Field(ge=-100, le=100, allow_inf_nan=False)]
StopText = Annotated[str, Field(min_length=1, max_length=100), AfterValidator(storable)]


class Options(BaseModel):
    """What may be said to the model, within bounds; nothing here can name an address."""

    model_config = ConfigDict(extra="forbid")

    temperature: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] | None = None
    max_tokens: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**32)] | None = None
    presence_penalty: Number | None = None
    frequency_penalty: Number | None = None
    stop: StopText | Annotated[list[StopText], Field(max_length=4)] | None = None

    @field_validator("stop", mode="wrap")
    @classmethod
    def _text_or_texts(cls, stop: Any, check: ValidatorFunctionWrapHandler) -> Any:
        """One sentence for all that may be wrong: of two types pydantic tells what each of them lacks."""
        try:
            return check(stop)
        except ValidationError:
            raise ValueError("give a text of 1 to 100 characters, or a list of at most four such texts") from None


class PromptIn(BaseModel):
    """The body of `POST /api/sessions/{id}/streams/`."""

    model_config = ConfigDict(extra="forbid")

    prompt: Annotated[str, Field(max_length=PROMPT_MAX_CHARACTERS)]
    model: Annotated[str, Field(max_length=200)] | None = None
    if_busy: Literal["interrupt", "reject", "enqueue", "rollback"] | None = None
    on_disconnect: Literal["cancel", "continue"] | None = None
    options: Options = Field(default_factory=Options)

    @field_validator("prompt")
    @classmethod
    def _says_something(cls, prompt: str) -> str:
        if not prompt.strip():
            raise ValueError("the prompt is empty: say something")
        return storable(prompt)


@dataclass(frozen=True, slots=True)
class PromptRequest:
    """A prompt, checked, and who asks. `idempotency_key` "" for none."""

    session_id: UUID
    text: str
    if_busy: str
    on_disconnect: str
    caller_label: str
    model: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    idempotency_key: str = ""
    body_digest: str = ""


def parse_prompt(
    body: bytes,
    content_type: str,
    session_id: UUID,
    caller_label: str,
    *,
    idempotency_key: str,
    default_on_disconnect: str,
) -> PromptRequest:
    """Raises UnsupportedMediaType, and InvalidRequest, which names the field and says what is expected."""
    if len(idempotency_key) > 200:
        raise InvalidRequest("An Idempotency-Key has at most 200 characters.", field="Idempotency-Key")
    try:
        prompt = PromptIn.model_validate(read_json(body, content_type))
    except ValidationError as error:
        raise refusal(error.errors(include_url=False, include_context=False, include_input=False)[0]) from None
    return PromptRequest(
        session_id=session_id,
        text=prompt.prompt,
        if_busy=prompt.if_busy or settings.CHAT_IF_BUSY,
        on_disconnect=prompt.on_disconnect or default_on_disconnect,
        caller_label=caller_label,
        model=storable(prompt.model or ""),
        options=prompt.options.model_dump(exclude_none=True),
        idempotency_key=storable(idempotency_key),
        body_digest=hashlib.sha256(body).hexdigest(),
    )
