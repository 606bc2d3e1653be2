"""In which line of a TOML file a value stands."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.config_file import line_of

TEXT = '''# the share
root = "/srv/share"
limits.max_files = 7
about = """
[intake]
settle_s = 1
"""

[intake]
# quiet time
settle_s = 3

[worker]
gpus = [
  0,
  1,
]
[notify.webhooks.farm]
url = "https://farm.example"
[[parts]]
a = 1
[[parts]]
a = 2
'''


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("root",), 2),
        (("limits", "max_files"), 3),
        (("about",), 4),
        (("intake",), 9),
        (("intake", "settle_s"), 11),
        (("worker", "gpus"), 14),
        (("worker", "gpus", 1), 14),
        (("notify", "webhooks", "farm", "url"), 19),
        (("notify", "webhooks", "farm", "secret"), 18),
        (("parts", 1, "a"), 23),
        (("nowhere",), None),
    ],
)
def test_lines(path: tuple[int | str, ...], line: int | None) -> None:
    """Tables, dotted keys, lists over several lines and text that only looks like a table are told apart."""
    assert line_of(TEXT, path) == line


@given(st.lists(st.sampled_from(["# note", "", "{key} = 1", '{key} = """\nx\n"""', "{key} = [\n1,\n]"]), max_size=12))
def test_every_key_is_found_where_it_begins(kinds: list[str]) -> None:
    """Whatever stands between them, each key's line is the one that begins with it."""
    entries = [kind.format(key=f"k{number}") for number, kind in enumerate(kinds)]
    text = "\n".join(entries) + "\n"
    for key in tomllib.loads(text):
        line = line_of(text, (key,))
        assert line is not None
        assert text.splitlines()[line - 1].startswith(f"{key} =")
