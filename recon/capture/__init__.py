"""Read a job folder: files on disk to a ``Capture`` in memory.

Flow: listing -> layout (which files belong together) -> manifest (what is stated about cameras) ->
image and depth files -> lens correction -> depth decoding -> masks -> cleaned views.
``layout`` and ``pngfile`` are pure Python, so that a daemon can judge a folder without numerical libraries.
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from recon.scene import Capture
    from recon.settings import Settings

__all__ = ["load_capture"]


def load_capture(folder: Path, settings: "Settings") -> "Capture":
    """Read a job folder; see ``recon.load_capture`` for the contract."""
    from recon.capture.reading import read_capture

    return read_capture(folder, settings)
