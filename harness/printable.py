"""Text from strangers, made safe to print."""


def printable(text: str) -> str:
    """The text without what would steer the terminal."""
    if text.replace("\n", "").isprintable():
        return text
    return "".join(c if c == "\n" or c.isprintable() else f"\\x{ord(c):02x}" for c in text)
