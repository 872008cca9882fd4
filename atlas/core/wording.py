"""Numbers of things in sentences."""


def counted(count: int, noun: str, plural: str = "") -> str:
    """Return how many there are of something.

    Args:
        count: The number.
        noun: What one of them is called.
        plural: What several are called; by default the noun with an s.

    Example:
        >>> counted(1, "image"), counted(1200, "image"), counted(0, "copy", "copies")
        ('1 image', '1,200 images', '0 copies')
    """
    return f"{count:,} {noun if count == 1 else plural or f'{noun}s'}"
