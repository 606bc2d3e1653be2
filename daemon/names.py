"""File names: which are the user's, which are ours, which are nobody's, and how to show them.

Lists after github/gitignore (macOS, Windows, Linux), Cyberduck's and Syncthing's temporary names.
"""

import fnmatch
import re
import unicodedata

IGNORED = (
    ".*", "._*", "__MACOSX", "Icon\r", "Network Trash Folder", "Temporary Items", "Thumbs.db", "ehthumbs*.db",
    "desktop.ini", "$RECYCLE.BIN", "RECYCLER", "System Volume Information", "*.lnk", "~syncthing~*", "@eaDir",
    "#recycle",
)  # fmt: skip
"""Left by file managers and servers: neither input, nor a change, nor a reason to wait."""

TEMPORARY = (
    "*.part", "*.partial", "*.filepart", "*.crdownload", "*.tmp", "*.swp", "*.sb-????????-??????", ".goutputstream-*",
    "~$*", "*~", ".syncthing.*", "~syncthing~*.tmp", ".*.??????",
)  # fmt: skip
"""Written by copying programs while a file is under way: a reason to wait."""

OWN = (
    "status.json",
    "preview.png",
    "error.json",
    "result.json",
    "log.jsonl",
    "results",
    "previous-results*",
    "CANCELLED*",
)
"""The daemon's own files in a job's folder, and what it keeps of an earlier run."""

STAGING_PREFIX = ".meshdrop-"
SENTINEL = ".meshdrop"
OPTION_FILES = ("job.toml", "job.json")
MAX_OPTIONS_BYTES = 64 * 1024

_CONTROL = re.compile(r"(?P<word>cancel|retry|ready)(?P<rest>\..*)?", re.IGNORECASE | re.DOTALL)
_WINDOWS_DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


def _matcher(patterns: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(fnmatch.translate(pattern) for pattern in patterns), re.IGNORECASE)


_ignored, _temporary, _own = _matcher(IGNORED), _matcher(TEMPORARY), _matcher(OWN)


def is_ignored(name: str) -> bool:
    """Whether a file manager or server left it."""
    return _ignored.match(name) is not None


def is_temporary(name: str) -> bool:
    """Whether a copying program is still writing under this name."""
    return _temporary.match(name) is not None


def is_own(name: str) -> bool:
    """Whether the daemon wrote it, now or in an earlier run."""
    return _own.match(name) is not None or name.startswith(STAGING_PREFIX)


def control_word(name: str) -> str:
    """``cancel``, ``retry`` or ``ready`` for a control file in any case and with any extension, else empty."""
    match = _CONTROL.fullmatch(name)
    return match["word"].lower() if match else ""


def is_confirmed_cancel(name: str) -> bool:
    """Whether it is the second file of the two-step cancellation, CANCEL.confirm."""
    return name.lower() in {"cancel.confirm", "cancel.confirm.txt"}


def unique_key(name: str) -> str:
    """Equal for names that Windows or macOS would take for the same."""
    return unicodedata.normalize("NFC", name).casefold()


def shown(name: str) -> str:
    r"""The name with everything that could fool a reader or a terminal written as an escape.

    Example:
        >>> shown("sh\u202eoe\x1b[2J")
        'sh\\u202eoe\\x1b[2J'
    """
    return "".join(
        char if unicodedata.category(char) not in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"} else ascii(char)[1:-1]
        for char in name
    )


def portable(name: str) -> str:
    """A file name for our own output that every client can open, as near to ``name`` as can be."""
    plain = "".join(
        "_" if char in '<>:"|?*\\/' or shown(char) != char else char for char in unicodedata.normalize("NFC", name)
    )
    plain = plain.strip(". ")[:100] or "job"
    return f"_{plain}" if _WINDOWS_DEVICE.fullmatch(plain) else plain


def numbered(name: str, number: int) -> str:
    """``NAME`` for 1, then ``NAME~2``, ``NAME~3``; cut so that the file system's 255 bytes hold it."""
    if number == 1:
        return name
    suffix = f"~{number}"
    room = 255 - len(suffix)
    while len(name.encode("utf-8", "surrogateescape")) > room:
        name = name[:-1]
    return name + suffix
