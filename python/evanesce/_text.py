"""Making hostile text safe to show.

Names, policies, agents' reasons and file names come from strangers. Whatever is shown to a person goes
through `printable`, which leaves nothing that a terminal would act on or that would change how its
neighbours read: control characters, escape sequences, bidirectional overrides, invisible and unassigned
characters all appear as escapes. Markup needs no escaping here, because the consoles of `evanesce.cli` are
built with markup off.
"""

LONGEST = 300
"""Characters shown of one foreign text, before it is cut."""


def printable(text: str, *, lines: bool = False, limit: int | None = LONGEST) -> str:
    """`text` with everything unprintable escaped (`\\x1b`, `\\u202e`), cut at `limit` characters.

    With `lines`, line feeds survive: for texts of several lines, such as policies, shown on lines of their
    own.
    """
    cut = limit is not None and len(text) > limit
    if cut:
        text = text[:limit]
    if not text.isprintable():
        text = "".join(c if c.isprintable() or (lines and c == "\n") else _escape(c) for c in text)
    return text + "…" if cut else text


def _escape(character: str) -> str:
    point = ord(character)
    if point <= 0xFF:
        return f"\\x{point:02x}"
    if point <= 0xFFFF:
        return f"\\u{point:04x}"
    return f"\\U{point:08x}"


def short(identifier: str) -> str:
    """An id as people compare it at a glance: the first 16 of 64 hex digits. Never enough to pin."""
    return identifier[:16] + "…" if len(identifier) > 16 else identifier


def grouped(identifier: str) -> str:
    """All of an id, in groups of eight digits, to read aloud."""
    return " ".join(identifier[i : i + 8] for i in range(0, len(identifier), 8))
