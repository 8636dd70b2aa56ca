"""What `.tilthignore` leaves out of a code bundle, in the syntax of gitignore.

Written out here because git reads such a file for untracked files only, and need not be installed at all.
Names are bytes relative to the root, as file systems have them. Source: gitignore(5), "Pattern format".
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_PARTS = re.compile(rb"^\*\*/|(?<=/)\*\*/|/\*\*$|\*+|\?|\[!?\]?[^\]]*\]|\\.|.", re.DOTALL)


class Ignored:
    """The rules of one ignore file; none when there is no such file."""

    def __init__(self, path: Path) -> None:
        try:
            lines = path.read_bytes().splitlines()
        except OSError:
            lines = []
        # The last rule that matches decides.
        self._rules = [rule for line in reversed(lines) if (rule := _rule(line)) is not None]
        self._folders: dict[bytes, bool] = {b"": False}

    def folder(self, name: bytes) -> bool:
        """Whether a folder is left out, with all that is in it."""
        if name not in self._folders:
            self._folders[name] = self.folder(name.rpartition(b"/")[0]) or self._matches(name, is_folder=True)
        return self._folders[name]

    def file(self, name: bytes) -> bool:
        """Whether a file is left out. What is in a folder that is left out cannot be taken back, as in git."""
        if not self._rules:
            return False
        return self.folder(name.rpartition(b"/")[0]) or self._matches(name, is_folder=False)

    def _matches(self, name: bytes, *, is_folder: bool) -> bool:
        for pattern, only_folders, leaves_out in self._rules:
            if (is_folder or not only_folders) and pattern.fullmatch(name):
                return leaves_out
        return False


def _rule(line: bytes) -> tuple[re.Pattern[bytes], bool, bool] | None:
    """One line: its pattern, whether it is for folders only, and whether it leaves out (or takes back)."""
    text = re.sub(rb"(?<!\\)[ \t]+$", b"", line)
    if not text or text.startswith(b"#"):
        return None
    leaves_out = not text.startswith(b"!")
    text = text.removeprefix(b"!")
    only_folders = text.endswith(b"/")
    text = text.removesuffix(b"/")
    expression = b"" if b"/" in text else b"(?:.*/)?"
    for part in _PARTS.findall(text.removeprefix(b"/")):
        if part == b"**/":
            expression += b"(?:.*/)?"
        elif part == b"/**":
            expression += b"/.+"
        elif part == b"**" and text.lstrip(b"/") == b"**":
            expression += b".*"
        elif part.startswith(b"*"):
            expression += b"[^/]*"
        elif part == b"?":
            expression += b"[^/]"
        elif part.startswith(b"[") and len(part) > 1:
            inner = part[1:-1]
            expression += b"(?!/)[" + (b"^" + inner[1:] if inner.startswith(b"!") else inner) + b"]"
        else:
            expression += re.escape(part[-1:])
    try:
        return re.compile(expression, re.DOTALL), only_folders, leaves_out
    except re.error:
        return None  # git, too, passes over a pattern that is none
