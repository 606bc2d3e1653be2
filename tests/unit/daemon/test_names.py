"""Whose file is it, and how is its name shown?"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon import names


@pytest.mark.parametrize(
    "name", [".DS_Store", "._view_00.png", "Thumbs.db", "THUMBS.DB", "desktop.ini", "@eaDir", "x.lnk"]
)
def test_leftovers_of_file_managers_are_ignored(name: str) -> None:
    """What nobody meant to drop does not count, in any case."""
    assert names.is_ignored(name)


@pytest.mark.parametrize(
    "name",
    ["a.part", "view.png.crdownload", "~$x.docx", ".view_00.png.Ab12Cd", "a.PNG.filepart"],
)
def test_names_of_copies_under_way_are_known(name: str) -> None:
    """Programs that copy under another name are waited for."""
    assert names.is_temporary(name)


@pytest.mark.parametrize("name", ["view_00.png", "transforms.json", "job.toml", "depth.exr", "READY.png.bak"])
def test_input_is_input(name: str) -> None:
    """A picture or manifest is none of the special kinds."""
    kinds = (names.is_ignored(name), names.is_temporary(name), names.is_own(name), names.control_word(name) == "cancel")
    assert not any(kinds)


@pytest.mark.parametrize(
    ("name", "word"),
    [("CANCEL", "cancel"), ("cancel.txt", "cancel"), ("Retry.TXT", "retry"), ("READY", "ready"),
     ("cancel.tar.gz", "cancel"), ("CANCELLED", ""), ("cancel me", ""), ("nocancel", ""), ("ready-steady", "")],
)  # fmt: skip
def test_control_words(name: str, word: str) -> None:
    """A control file is known in any case with any extension, and nothing else is."""
    assert names.control_word(name) == word


@given(st.text())
def test_shown_names_cannot_steer_a_terminal(name: str) -> None:
    """No control, bidirectional or half character is left, whatever the name."""
    text = names.shown(name)
    assert all(char.isprintable() or char.isspace() for char in text)
    assert not any(char in text for char in "\x1b\n\r\u202e\u2066\u200b")
    assert text.encode().decode() == text


@given(st.text(min_size=1))
def test_portable_names_are_valid_on_windows(name: str) -> None:
    """Our own output files can be opened by every client."""
    plain = names.portable(name)
    assert plain
    assert not set(plain) & set('<>:"|?*\\/')
    assert plain == plain.strip(". ")
    assert plain.split(".")[0].lower() not in {"con", "prn", "aux", "nul", "com1", "lpt9"}


def test_names_that_windows_confuses_have_one_key() -> None:
    """Case and composition make no difference."""
    assert names.unique_key("SCHÖN.png") == names.unique_key("scho\u0308n.PNG")


def test_numbered_names_fit_the_file_system() -> None:
    """A name of 255 bytes is shortened for its number, never beyond what is needed."""
    assert names.numbered("shoe", 1) == "shoe"
    assert names.numbered("shoe", 12) == "shoe~12"
    assert len(names.numbered("ü" * 127 + "x", 2).encode()) <= 255
    assert names.numbered("x" * 255, 2) == "x" * 253 + "~2"
