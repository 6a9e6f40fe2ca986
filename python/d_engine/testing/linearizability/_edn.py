"""A reader of EDN, the notation of Clojure's data, as far as histories use it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

__all__ = ["read_all"]

_TOKEN: Final = re.compile(
    r"""
    (?P<space> [\s,]+ | ;[^\n]* )
  | (?P<string> "(?:[^"\\]|\\.)*" )
  | (?P<open> \#\{ | [\[({] )
  | (?P<close> [\])}] )
  | (?P<discard> \#_ )
  | (?P<tag> \#[A-Za-z][^\s,\[\](){}"]* )
  | (?P<character> \\(?:newline|space|tab|return|u[0-9a-fA-F]{4}|.) )
  | (?P<atom> [^\s,\[\](){}";]+ )
    """,
    re.VERBOSE | re.DOTALL,
)
_ESCAPE: Final = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}
_CHARACTERS: Final = {"newline": "\n", "space": " ", "tab": "\t", "return": "\r"}
_WORDS: Final = {"nil": None, "true": True, "false": False}
_CLOSES: Final = {"[": "]", "(": ")", "{": "}", "#{": "}"}
_INTEGER: Final = re.compile(r"[+-]?\d+N?")
_FLOAT: Final = re.compile(r"[+-]?\d+(?:\.\d*)?(?:[eE][+-]?\d+)?M?")


def read_all(text: str, *, flat: bool = False) -> list[tuple[int, Any]]:
    """All forms at the top, each with its line. Vectors and lists become tuples, keywords and symbols strings, tags are dropped.

    Args:
        text: the EDN.
        flat: for a vector or list at the top, its items.

    Raises:
        ValueError: with the line where it is no EDN.
    """
    return _Reader(text, flat=flat).forms(None)


class _Reader:
    def __init__(self, text: str, *, flat: bool) -> None:
        self._text = text
        self._flat = flat
        self._tokens = self._split()
        self._line = 1

    def _split(self) -> Iterator[tuple[str, str, int]]:
        at, line = 0, 1
        while at < len(self._text):
            match = _TOKEN.match(self._text, at)
            if match is None:
                raise ValueError(f"line {line}: no EDN: {self._text[at : at + 20]!r}")
            kind, text = str(match.lastgroup), match[0]
            if kind != "space":
                yield kind, text, line
            line += text.count("\n")
            at = match.end()

    def forms(self, close: str | None) -> list[tuple[int, Any]]:
        """Forms up to the bracket that closes them; None: up to the end."""
        found: list[tuple[int, Any]] = []
        discards = 0
        for kind, text, line in self._tokens:
            self._line = line
            if kind == "discard":
                discards += 1
            elif kind == "close":
                if text != close:
                    raise ValueError(f"line {line}: {text!r} closes nothing")
                return found
            elif self._flat and close is None and text in "[(":
                found += self.forms(_CLOSES[text])
            elif kind != "tag":  # what follows it stands for itself
                value = self._value(kind, text, line)
                if discards:
                    discards -= 1
                else:
                    found.append((line, value))
        if close is not None:
            raise ValueError(f"line {self._line}: {close!r} is missing at the end")
        return found

    def _value(self, kind: str, text: str, line: int) -> Any:
        if kind == "open":
            items = [value for _, value in self.forms(_CLOSES[text])]
            if text == "{":
                if len(items) % 2:
                    raise ValueError(f"line {line}: a map with a key and no value")
                return dict(zip(items[::2], items[1::2], strict=True))
            return frozenset(items) if text == "#{" else tuple(items)
        if kind == "string":
            return _ESCAPE.sub(_unescaped, text[1:-1])
        if kind == "character":
            name = text[1:]
            return _CHARACTERS.get(name) or (chr(int(name[1:], 16)) if len(name) == 5 else name)
        return _atom(text)


def _unescaped(match: re.Match[str]) -> str:
    code = match[1]
    return chr(int(code[1:], 16)) if len(code) == 5 else _ESCAPES.get(code, code)


def _atom(text: str) -> Any:
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text.rstrip("N"))
    if _FLOAT.fullmatch(text):
        return float(text.rstrip("M"))
    return text.removeprefix(":")
