"""Values in what the container's programs write, taken where they have the right type. Pure."""


def text(value: object) -> str:
    """Return a text; empty for anything else."""
    return value if isinstance(value, str) else ""


def texts(value: object) -> tuple[str, ...]:
    """Return a list's texts."""
    return tuple(map(text, value)) if isinstance(value, list) else ()


def line(value: object, longest: int) -> str:
    """Return a text as one line of so many characters at most."""
    return " ".join(text(value).split())[:longest]


def whole(value: object) -> int:
    """Return a whole number that is not negative; 0 for anything else."""
    return value if isinstance(value, int) and value >= 0 else 0
