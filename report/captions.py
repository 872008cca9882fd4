"""Words beneath pictures."""

CAPTION_LETTERS = 36  # what fits over a picture; a UUID has as many


def shortened(text: str, letters: int = CAPTION_LETTERS) -> str:
    """The text, or its beginning and dots."""
    return text if len(text) <= letters else text[: letters - 3] + "..."
