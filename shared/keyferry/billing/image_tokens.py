"""How many tokens of a prompt one image can be at most, as providers document it.

An image that is sent by reference says nothing of its size, and the bytes of one that is sent do not bound its pixels. So a
hold counts every image as the largest that the model does not scale down. Pure.
"""

MOST_IMAGE_TOKENS = 5_000
"""Where no row says otherwise. Anthropic, "Vision": at most 4,784 for images of high resolution. OpenAI, "Images and vision": at
most 1,536 patches times 2.46 for the nano models, or 85 and 170 for each of eight tiles. Google, "Media resolution": 2,240."""
_BY_MODEL = (
    ("gpt-4o-mini", 48_169),
    ("gpt-5.4", 12_000),
    ("gpt-5.5", 12_000),
)
"""By a part of the model's name. OpenAI, "Images and vision": 2,833 and 5,667 for each of eight tiles (2,048 x 768 pixels);
10,000 patches in their original size, times 1.2."""


def most_image_tokens(model: str) -> int:
    """Return the most tokens that one image in a prompt for a model counts as."""
    return next((tokens for part, tokens in _BY_MODEL if part in model), MOST_IMAGE_TOKENS)
