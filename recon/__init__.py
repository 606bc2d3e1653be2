"""Textured meshes from a few photographs with depth.

``reconstruct`` runs the whole pipeline on a folder or on a loaded capture; everything else is reached
through the subpackage that owns it.  Importing this package loads neither torch nor numpy, so that a
daemon or a command line can read settings and errors at no cost.

Flow: capture -> cameras -> geometry -> optimise -> texture -> export -> quality -> previews.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from recon.errors import Cancelled, ReconError
from recon.progress import Progress, ProgressUpdate, silent
from recon.settings import Settings

if TYPE_CHECKING:
    from recon.previews.notebook import InlinePage
    from recon.report import Report
    from recon.scene import Capture

__all__ = [
    "Cancelled",
    "Progress",
    "ProgressUpdate",
    "ReconError",
    "Settings",
    "load_capture",
    "reconstruct",
    "show",
    "silent",
    "write_page",
]


def load_capture(folder: Path, settings: Settings | None = None) -> "Capture":
    """Read a job folder into memory.

    Args:
        folder: A folder in any accepted layout (docs/job-folder.md).
        settings: Explicit facts about the folder (depth encoding, rig, field of view); they win over inference.

    Returns:
        The capture; its views have cameras only when the folder states them.

    Raises:
        CaptureError: A file is missing, damaged, too large or contradicts another; names file and remedy.

    Example:
        >>> capture = recon.load_capture(folder)
        >>> len(capture.views), capture.views[0].name, capture.is_metric
        (6, 'view_00', True)
    """
    from recon.capture import load_capture as load

    return load(folder, settings or Settings())


def reconstruct(
    source: "Path | Capture",
    output_dir: Path,
    settings: Settings | None = None,
    progress: Callable[[ProgressUpdate], None] = silent,
) -> "Report":
    """Reconstruct a capture and write every result under ``output_dir``.

    Args:
        source: A job folder, or a capture already loaded.
        output_dir: Created if absent; receives ``<model>/...`` and ``report.json``.
        settings: What to do; the defaults suit six RGB-D views.
        progress: Called in this thread at every step; may raise ``Cancelled`` to stop the work.

    Returns:
        What was made, how good it is, and what had to be inferred.

    Raises:
        ReconError: With a stable ``code``, a message and a suggestion; see docs/errors.md.

    Example:
        >>> settings = recon.Settings(texture_px=256, target_faces=2000, turntable=False)
        >>> report = recon.reconstruct(folder, output, settings)
        >>> report.models[0].quality.mesh.is_watertight
        True
        >>> sorted(path.name for path in (output / "nvdiffrec").glob("mesh.*"))
        ['mesh.glb', 'mesh.mtl', 'mesh.obj', 'mesh.ply']
    """
    from recon.pipeline import run

    return run(source, output_dir, settings or Settings(), progress)


def write_page(report: "Report", output_dir: Path, title: str = "Reconstruction") -> Path:
    """Write report.html beside the results: one file with a 3D viewer, pictures and numbers, for any browser.

    Args:
        report: From ``reconstruct``.
        output_dir: Where ``reconstruct`` has written its results.
        title: The page's heading; any text is safe.

    Returns:
        The page.

    Raises:
        DiskFull, OutputNotWritable: The page could not be written.

    Example:
        >>> recon.write_page(report, output, "Teapot").name
        'report.html'
    """
    from recon.previews.report_html import write_report_html

    page = output_dir / "report.html"
    write_report_html(page, title, report, output_dir)
    return page


def show(output_dir: Path, height_px: int = 800) -> "InlinePage":
    """The page of ``write_page`` inside a notebook, viewer included.

    Args:
        output_dir: Holds report.html.
        height_px: Of the frame in the notebook.

    Returns:
        A value that Jupyter draws when it is the last one of a cell.

    Raises:
        FileNotFoundError: There is no page yet.

    Example:
        >>> recon.show(output)
        InlinePage('report.html')
    """
    from recon.previews.notebook import InlinePage

    return InlinePage(output_dir / "report.html", height_px)
