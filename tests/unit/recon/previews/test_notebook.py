"""The page in a notebook."""

import html
from pathlib import Path

import pytest

import recon


def test_frame_holds_the_page_and_lets_nothing_out(tmp_path: Path) -> None:
    """The frame's content is the page itself; quotes and tags in it cannot leave the attribute."""
    page = "<!doctype html><title>\"'&amp;</title></iframe><script>1</script>"
    (tmp_path / "report.html").write_text(page)
    shown = recon.show(tmp_path, height_px=300)._repr_html_()
    assert shown.count("<") == 2
    assert html.unescape(shown.partition('srcdoc="')[2].partition('"')[0]) == page
    assert 'sandbox="allow-scripts"' in shown
    assert 'height="300"' in shown


def test_missing_page_says_how_to_make_it(tmp_path: Path) -> None:
    """The error names the function that writes the page."""
    with pytest.raises(FileNotFoundError, match="write_page"):
        recon.show(tmp_path)
