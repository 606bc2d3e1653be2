"""The page as text: complete, self-contained, and safe with any text."""

import base64
import hashlib
import io
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import meshes
import recon.previews
import reports
from recon.errors import DiskFull
from recon.previews.report_html import Failure, write_report_html
from recon.report import Report

HOSTILE = "<script>alert(1)</script>\"'&\N{RIGHT-TO-LEFT OVERRIDE}\x1b[31m\n" + "\N{PILE OF POO}" * 50
FAILURE = Failure("INPUT_CORRUPT", "top.png is cut off.", "Copy it again.", "top.png", "capture", '{"fraction": 0.5}')


class Elements(HTMLParser):
    """All tags with their attributes, and the text of scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self.cdata_elem == "script":
            self.scripts[-1] += data


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Report]:
    folder: Path = tmp_path_factory.mktemp("results")
    return folder, reports.box_report(folder)


def page(tmp_path: Path, title: str, *arguments: object, **more: object) -> str:
    write_report_html(tmp_path / "report.html", title, *arguments, **more)  # type: ignore[arg-type]
    return (tmp_path / "report.html").read_text("utf-8")


def test_warnings_come_before_everything_else(tmp_path: Path, results: tuple[Path, Report]) -> None:
    """What the user must read stands above the mesh, escaped."""
    text = page(tmp_path, "box", results[1], results[0])
    assert text.index("Mind the &lt;gap&gt; &amp; more.") < text.index("The mesh</h2>")


def test_page_asks_for_nothing(tmp_path: Path, results: tuple[Path, Report]) -> None:
    """No element loads another file or host, and the policy forbids it; links lead to files beside the page only."""
    elements = Elements(page(tmp_path, "box", results[1], results[0]))
    loaded = [attributes.get(name) for _, attributes in elements.tags for name in ("src", "action", "data")]
    assert all(address.startswith("data:") for address in loaded if address)
    linked = {attributes["href"] for _, attributes in elements.tags if "href" in attributes}
    assert "nvdiffrec/mesh.glb" in linked
    assert {address for address in linked if not (results[0] / str(address)).exists()} == set()
    policy = next(a["content"] for _, a in elements.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'; img-src data:;")


def test_only_the_viewer_script_may_run(tmp_path: Path, results: tuple[Path, Report]) -> None:
    """The policy names the hash of the one script on the page."""
    text = page(tmp_path, HOSTILE, results[1], results[0])
    script = Elements(text).scripts[-1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in text
    assert [attributes for tag, attributes in Elements(text).tags if tag == "script"] == [
        {"type": "application/json", "id": "mesh-1"},
        {},
    ]


def test_hostile_text_stays_text(tmp_path: Path, results: tuple[Path, Report]) -> None:
    """A title with markup, control and bidi characters adds no element and cannot reorder the page."""
    harmless = Elements(page(tmp_path, "box", results[1], results[0], FAILURE)).tags
    failure = Failure(*[HOSTILE] * 6)
    text = page(tmp_path, HOSTILE, results[1], results[0], failure, HOSTILE)
    assert [tag for tag, _ in Elements(text).tags] == [tag for tag, _ in harmless]
    title = re.search(r"<h1><bdi>(.*?)</bdi></h1>", text, re.DOTALL)
    assert title is not None
    assert title[1].startswith("&lt;script&gt;alert(1)&lt;/script&gt;&#34;&#39;&amp;\N{REPLACEMENT CHARACTER}")
    assert not any(letter in text for letter in ("\N{RIGHT-TO-LEFT OVERRIDE}", "\x1b"))


def test_viewer_gets_the_mesh_itself(tmp_path: Path, results: tuple[Path, Report]) -> None:
    """The embedded triangles are those of mesh.glb, with all three pictures."""
    data = json.loads(Elements(page(tmp_path, "box", results[1], results[0])).scripts[0])
    positions = np.frombuffer(base64.b64decode(data["positions"]), "<f4").reshape(-1, 3)
    indices = np.frombuffer(base64.b64decode(data["indices"]), "<u4").reshape(-1, 3)
    triangles_world = positions[indices] @ np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]])
    expected = meshes.box_mesh().positions_world[meshes.box_mesh().faces].numpy()
    np.testing.assert_array_equal(triangles_world, expected)
    assert {name: address[:22] for name, address in data["pictures"].items()} == {
        "texture": "data:image/webp;base64",
        "coverage": "data:image/png;base64,",
        "error": "data:image/png;base64,",
    }


def test_seams_are_not_drawn_as_gaps(tmp_path: Path, results: tuple[Path, Report]) -> None:
    """In the page's coverage picture each chart reaches 2 texels past its rim, in its own colour."""
    data = json.loads(Elements(page(tmp_path, "box", results[1], results[0])).scripts[0])
    png = base64.b64decode(data["pictures"]["coverage"].partition(",")[2])
    shown = np.asarray(Image.open(io.BytesIO(png)))
    written = np.asarray(Image.open(results[0] / "nvdiffrec" / "coverage.png"))
    assert set(shown[:16, :16].flatten().tolist()) == {2}
    np.testing.assert_array_equal(shown[written > 0], written[written > 0])


def test_each_view_has_its_own_row_of_pictures(tmp_path: Path, results: tuple[Path, Report]) -> None:
    """The contact sheet is cut into one picture per view; a sheet of another size is not cut at random."""
    pictures = [a for tag, a in Elements(page(tmp_path, "box", results[1], results[0])).tags if tag == "img"]
    assert [a["alt"] for a in pictures] == [f"side_{side}: photograph, mesh and difference." for side in range(6)]
    (tmp_path / "nvdiffrec/previews").mkdir(parents=True)
    Image.new("RGB", (300, 100)).save(tmp_path / "nvdiffrec/previews/contact_sheet.png")
    assert "<img" not in page(tmp_path, "box", results[1], tmp_path)


def test_poor_result_says_what_to_do(tmp_path: Path, results: tuple[Path, Report]) -> None:
    """A result that is not good enough leads with advice; a good one needs none."""
    folder, report = results
    poor = report.models[0].quality.model_copy(update={"verdict": "failure"})
    model = report.models[0].model_copy(update={"quality": poor})
    text = page(tmp_path, "box", report.model_copy(update={"models": (model,)}), folder)
    assert text.index("What you can do") < text.index("<canvas")
    assert "on_low_quality" in text[: text.index("<canvas")]
    assert "What you can do" not in page(tmp_path, "box", report, folder)


def test_viewer_is_built_from_its_sources() -> None:
    """The bundled script names the hash of the viewer's present sources; build.sh writes it anew."""
    folder = Path(recon.previews.__file__).parent
    sources = (folder / "viewer/package.json").read_bytes() + (folder / "viewer/viewer.js").read_bytes()
    first_line = (folder / "templates/viewer.js").read_text("utf-8").splitlines()[0]
    assert first_line.endswith(hashlib.sha256(sources).hexdigest())


def test_what_is_absent_is_left_out(tmp_path: Path, results: tuple[Path, Report]) -> None:
    """Without mesh.glb there is no viewer, and the page says why."""
    text = page(tmp_path, "box", results[1], tmp_path)
    assert "<canvas" not in text
    assert "There is no 3D view here, because <code>mesh.glb</code> was not asked for" in text


def test_meshes_too_large_for_a_page_are_left_out(
    tmp_path: Path, results: tuple[Path, Report], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Above the limit the page has its pictures and numbers but no viewer."""
    monkeypatch.setattr("recon.previews.embedding.MAX_VIEWER_BYTES", 1000)
    text = page(tmp_path, "box", results[1], results[0])
    assert "<canvas" not in text
    assert "data:image/webp;base64," in text


def test_two_models_stand_side_by_side(tmp_path: Path, results: tuple[Path, Report]) -> None:
    """Each model has its own sections with its name, and no identifier is used twice."""
    folder, report = results
    other = report.models[0].model_copy(update={"model": "reconviagen"})
    both = report.model_copy(update={"models": (report.models[0], other)})
    text = page(tmp_path, "box", both, folder)
    identifiers = [attributes["id"] for _, attributes in Elements(text).tags if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))
    rows = re.findall(r"<tr><th scope=\"row\">(.*?)</th>(.*?)</tr>", text.partition("side by side")[2], re.DOTALL)
    compared = {label: re.findall(r"<td>(.*?)</td>", cells, re.DOTALL) for label, cells in rows[:9]}
    assert compared["Colours (PSNR)"] == ["99.0 dB"] * 2
    assert compared["Seconds"] == ["5.0"] * 2
    assert "The mesh of nvdiffrec" in text
    assert "The mesh of reconviagen" in text


def test_modes_without_a_picture_are_not_offered(tmp_path: Path) -> None:
    """No error.png, no error mode."""
    report = reports.box_report(tmp_path)
    (tmp_path / "nvdiffrec" / "error.png").unlink()
    values = [a.get("value") for tag, a in Elements(page(tmp_path, "box", report, tmp_path)).tags if tag == "input"]
    assert values == ["texture", "shape", "wireframe", "coverage"]


def test_failure_says_what_to_do(tmp_path: Path) -> None:
    """A failed job's page gives the message, the suggestion, the file and how to run again."""
    text = page(tmp_path, "box", failure=FAILURE, how_to_rerun="Drag it back.")
    for sentence in ("top.png is cut off.", "Copy it again. Drag it back.", "<code>INPUT_CORRUPT</code>", "capture"):
        assert sentence in text
    assert "<canvas" not in text


def test_failed_job_with_results_shows_both(tmp_path: Path, results: tuple[Path, Report]) -> None:
    """When the quality was too low, the failure leads and the mesh can still be looked at."""
    text = page(tmp_path, "box", results[1], results[0], FAILURE)
    assert text.index("What went wrong") < text.index("<canvas")
    assert '<span class="badge failure">Failed</span>' in text


def test_failure_page_needs_no_numerical_library(tmp_path: Path) -> None:
    """A daemon can write the page of a failed job without torch, numpy or Pillow."""
    code = (
        "import sys; from pathlib import Path; from recon.previews.report_html import Failure, write_report_html; "
        f"write_report_html(Path({str(tmp_path / 'x.html')!r}), 'job', failure=Failure('A', 'b', 'c')); "
        "print(sorted({'torch', 'numpy', 'PIL', 'scipy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_full_disk_is_reported_as_such(tmp_path: Path) -> None:
    """A refused write raises DiskFull with the file's name."""
    (tmp_path / "report.html").symlink_to("/dev/full")
    with pytest.raises(DiskFull) as caught:
        write_report_html(tmp_path / "report.html", "box", failure=FAILURE)
    assert caught.value.file == "report.html"
