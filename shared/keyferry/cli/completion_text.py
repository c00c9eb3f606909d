"""The text of an OpenAI answer: the chunks of a stream, or one completion. Pure."""

from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from keyferry.cli.problem import Problem


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore")


class _Text(_Part):
    content: str | None = None


class _Choice(_Part):
    delta: _Text = _Text()
    message: _Text = _Text()
    finish_reason: str | None = None


class _Error(_Part):
    message: str


class _Object(_Part):
    model: str | None = None
    choices: list[_Choice] = []
    error: _Error | None = None


Shape = Literal["chunk", "completion"]


@dataclass(slots=True)
class CompletionText:
    """The text of the first choice so far."""

    text: str = ""
    model: str | None = None
    finish_reason: str | None = None

    def add(self, data: bytes, shape: Shape = "chunk") -> str:
        """Add a `chat.completion.chunk` or a whole `chat.completion`, and return the new text.

        Raises Problem if `data` is neither, or contains an error.
        """
        try:
            read = _Object.model_validate_json(data)
        except ValidationError:
            raise Problem(
                "the answer is not what the OpenAI API defines", "Look at the log of provider-worker"
            ) from None
        if read.error is not None:
            raise Problem(f"the answer broke off: {read.error.message}")
        self.model = read.model or self.model
        if not read.choices:
            return ""
        choice = read.choices[0]
        self.finish_reason = choice.finish_reason or self.finish_reason
        new = (choice.delta if shape == "chunk" else choice.message).content or ""
        self.text += new
        return new
