# SPDX-License-Identifier: GPL-2.0-only
"""Just enough of the Kconfig language to say why an option did not come out."""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path

from rumpel.build.tree import ARCH, walk

_ENTRY = re.compile(r"^\s*(?:menu)?config (\w+)\s*$", re.M)
_END = re.compile(r"^\s*(?:(?:menu)?config |(?:end)?(?:menu|if|choice)\b|source |comment )", re.M)
_DEPENDS = re.compile(r"^\s+depends on (.+)$", re.M)
_SYMBOL = re.compile(r"\b[A-Z][A-Z0-9_]+\b")


class Kconfig:
    """The Kconfig files of a composed tree, without those of other architectures."""

    def __init__(self, tree: Path) -> None:
        self._tree = tree

    @cached_property
    def _files(self) -> dict[str, str]:
        found = {}
        for top in sorted(self._tree.iterdir()):
            if top.name == "arch":
                names = ["arch/Kconfig"]
                names += [f"arch/{ARCH}/{x}" for x, _ in walk(top / ARCH)]
            elif top.is_dir():
                names = [f"{top.name}/{x}" for x, _ in walk(top)]
            else:
                names = [top.name]
            for name in names:
                if name.rpartition("/")[2].startswith("Kconfig") and (self._tree / name).is_file():
                    text = (self._tree / name).read_text(errors="replace")
                    found[name] = text.replace("\\\n", " ")
        return found

    @cached_property
    def _places(self) -> dict[str, tuple[str, re.Match[str]]]:
        return {
            entry[1]: (name, entry)
            for name, text in self._files.items()
            for entry in _ENTRY.finditer(text)
        }

    def knows(self, name: str) -> bool:
        """Is there such an option in this kernel?"""
        return name in self._places

    def has_prompt(self, name: str) -> bool:
        """Can a user set it, or do only other options?"""
        body = self._body(name)
        return bool(re.search(r'^\s+(?:bool|tristate|int|hex|string|prompt)\s+"', body, re.M))

    def conditions(self, name: str) -> list[str]:
        """What an option depends on: its own words, and the menus and ifs around it."""
        file, entry = self._places[name]
        return list(
            dict.fromkeys([*_DEPENDS.findall(self._body(name)), *self._around(file, entry.start())])
        )

    def _body(self, name: str) -> str:
        file, entry = self._places[name]
        rest = self._files[file][entry.end() :]
        end = _END.search(rest)
        return rest[: end.start()] if end else rest

    def _around(self, file: str, at: int) -> list[str]:
        """The conditions of the blocks that hold a place, also of those that source its file."""
        stack: list[list[str]] = []
        text = self._files[file][:at]
        for block in re.finditer(r"^(if|menu|endif|endmenu)\b(.*)$", text, re.M):
            if block[1] == "if":
                stack.append([block[2].split("#")[0].strip()])
            elif block[1] == "menu":
                rest = text[block.end() :]
                end = _END.search(rest)
                stack.append(_DEPENDS.findall(rest[: end.start()] if end else rest))
            elif stack:
                stack.pop()
        found = [condition for conditions in stack for condition in conditions]
        path = re.escape(file).replace(
            re.escape(f"arch/{ARCH}/"), r"arch/(?:\$\(SRCARCH\)|rumpel)/"
        )
        for parent, text in self._files.items():
            source = re.search(rf'^\s*source "{path}"', text, re.M)
            if source and parent != file:
                return found + self._around(parent, source.start())
        return found


def symbols(conditions: list[str]) -> list[str]:
    """The options named in conditions, each once."""
    return list(dict.fromkeys(_SYMBOL.findall(" ".join(conditions))))
