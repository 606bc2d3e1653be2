"""The report page inside a notebook."""

import html
from pathlib import Path


class InlinePage:
    """A page that Jupyter draws in a frame; the notebook holds all of it and stays readable when it is sent away.

    The frame may run the page's own script and nothing else: it has no access to the notebook around it.

    Args:
        page: A self-contained HTML file.
        height_px: Of the frame.

    Raises:
        FileNotFoundError: There is no page.
    """

    def __init__(self, page: Path, height_px: int) -> None:
        if not page.is_file():
            raise FileNotFoundError(f"{page} does not exist; recon.write_page makes it")
        self._page = page
        self._height_px = height_px

    def __repr__(self) -> str:
        return f"InlinePage({self._page.name!r})"

    def _repr_html_(self) -> str:
        content = html.escape(self._page.read_text("utf-8"), quote=True)
        return (
            f'<iframe title="Reconstruction" sandbox="allow-scripts" width="100%" height="{self._height_px}"'
            f' style="border:0" srcdoc="{content}"></iframe>'
        )
