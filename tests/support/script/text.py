"""Script files: comments, commands, `----`, what they print, an empty line. Cut up, and put together again."""

from typing import NamedTuple

RULE = "----"


class Block(NamedTuple):
    head: str  # comments and empty lines before the first command, as they stand
    commands: tuple
    expected: str
    line: int  # of the first command


def blocks(text):
    """The blocks of a file, and what stands behind the last one."""
    found, head, commands, begun = [], [], [], 0
    lines = text.splitlines()
    at = 0
    while at < len(lines):
        line = lines[at]
        at += 1
        if line == RULE:
            if not commands:
                raise ValueError(f"line {at}: {RULE} without a command")
            expected = []
            while at < len(lines) and lines[at]:
                expected.append(lines[at])
                at += 1
            found.append(Block("\n".join(head).lstrip("\n"), tuple(commands), "\n".join(expected), begun))
            head, commands = [], []
        elif commands and line and not line.startswith("#"):
            commands.append(line)
        elif not line or line.startswith("#"):
            if commands:
                raise ValueError(f"line {at}: a command without {RULE}")
            head.append(line)
        else:
            commands, begun = [line], at
    if commands:
        raise ValueError(f"line {at}: a command without {RULE}")
    return found, "\n".join(head)


def join(found, tail):
    """The file that consists of these blocks."""
    parts = []
    for block in found:
        lines = [block.head] if block.head else []
        parts.append("\n".join([*lines, *block.commands, RULE, block.expected]))
    return "\n\n".join([*parts, tail.strip("\n")] if tail.strip() else parts) + "\n"
