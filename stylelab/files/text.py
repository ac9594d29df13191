"""Texts: for a terminal, and JSON from others."""

import json


def printable(text: str) -> str:
    """`text` with escapes, such as \\x1b, in place of what a terminal would obey or not show.

    Names of files and what others wrote may hold such characters; ends of lines stay.
    """
    return "".join(
        char if char.isprintable() or char == "\n" else ascii(char)[1:-1] for char in text
    )


def json_object(text: str) -> dict | None:
    """The JSON object that `text` is; None if it is anything else."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
