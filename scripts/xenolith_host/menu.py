"""GRUB's menu: its entries, read off the grub.cfg that grub-mkconfig has written."""

import re
import shlex
from dataclasses import dataclass, field


@dataclass
class Entry:
    """A menu entry. `path`: the titles of the submenus around it, and its own."""

    path: list[str]
    files: list[str] = field(default_factory=list)  # what it loads, in this order

    def name(self) -> str:
        """As grub-reboot wants it: by titles, since ids may stand twice in a menu (10_linux and 20_linux_xen give their
        submenus the same one). A > inside of a title is doubled."""
        return ">".join(title.replace(">", ">>") for title in self.path)

    def loads(self, pattern: str) -> re.Match | None:
        """The first file it loads whose name matches."""
        return next((m for f in self.files if (m := re.fullmatch(pattern, f.rpartition("/")[2]))), None)


def entries(text: str) -> list[Entry]:
    """All entries, as they stand in the menu. Lines that are no valid shell words are skipped."""
    out, open_blocks = [], []  # an open block is a submenu's title, an Entry, or None for any other
    for line in text.splitlines():
        line = line.strip()
        if line == "}":
            if open_blocks:
                open_blocks.pop()
            continue
        words = _words(line)
        if line.endswith("{"):
            open_blocks.append(_block(words, open_blocks))
            if isinstance(open_blocks[-1], Entry):
                out.append(open_blocks[-1])
        elif words and re.fullmatch(r"linux|initrd|multiboot2?|module2?", words[0]):
            entry = next((b for b in reversed(open_blocks) if isinstance(b, Entry)), None)
            if entry:
                entry.files += [w for w in words[1:] if w.startswith(("/", "("))][:1]
    return out


def _block(words: list[str], around: list):
    if len(words) < 2 or words[0] not in ("menuentry", "submenu"):
        return None
    titles = [b for b in around if isinstance(b, str)]
    return Entry(titles + [words[1]]) if words[0] == "menuentry" else words[1]


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError:
        return []


def one_time_entry_is_heeded(text: str) -> bool:
    """Whether this menu looks at what grub-reboot leaves, and takes it back."""
    return "next_entry" in text and "save_env next_entry" in text
