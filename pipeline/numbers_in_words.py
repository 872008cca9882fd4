"""Numbers as sentences have them."""


def percent(share: float) -> str:
    """Of a share of 1, short and never 0 or 100 where it is not."""
    shown = f"{100 * share:.0f}"
    return f"{100 * share:.1f} %" if shown in ("0", "100") and share not in (0, 1) else f"{shown} %"


def counted(count: int, noun: str) -> str:
    """With the verb: "One label is", "1,200 labels are"."""
    return f"One {noun} is" if count == 1 else f"{grouped(count)} {noun}s are"


def grouped(count: float) -> str:
    """A whole number by threes."""
    return f"{int(count):,}"
