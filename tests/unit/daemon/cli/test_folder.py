"""The command that reconstructs without a share."""

from pathlib import Path

import reports
from daemon.cli.folder import _write_page


def test_run_leaves_a_page(tmp_path: Path) -> None:
    """The page beside the results has the folder's name and the very command that makes them again."""
    report = reports.box_report(tmp_path / "out")
    _write_page(report, tmp_path / "my <box>", tmp_path / "out")
    page = (tmp_path / "out/report.html").read_text("utf-8")
    assert "<h1><bdi>my &lt;box&gt;</bdi></h1>" in page
    assert f"meshdrop run &#39;{tmp_path}/my &lt;box&gt;&#39; -o {tmp_path}/out" in page


def test_other_reports_bring_no_page(tmp_path: Path) -> None:
    """An entry point that is not recon's may report in its own way."""
    _write_page(object(), tmp_path, tmp_path)
    assert list(tmp_path.iterdir()) == []
