"""The turntable as a film."""

import json
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from recon.previews.film import save_film

FRAMES = [Image.new("RGB", (64, 48), (index * 40, 90, 200)) for index in range(5)]


@pytest.mark.needs("ffmpeg", "ffprobe")
def test_film_can_be_played(tmp_path: Path) -> None:
    """Two turns in H.264 with the pixel format that every player knows, each frame for its 80 ms."""
    path = save_film(FRAMES, tmp_path / "turntable.mp4", 80)
    assert path is not None
    wanted = "stream=codec_name,pix_fmt,width,height,nb_read_frames,duration"
    command = ["ffprobe", "-v", "error", "-count_frames", "-show_entries", wanted, "-of", "json", str(path)]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    (stream,) = json.loads(found.stdout)["streams"]
    assert float(stream.pop("duration")) == pytest.approx(0.8, abs=0.01)
    assert stream == {
        "codec_name": "h264", "pix_fmt": "yuv420p", "width": 64, "height": 48, "nb_read_frames": "10",
    }  # fmt: skip


@pytest.mark.needs("ffmpeg")
def test_film_is_never_half_written(tmp_path: Path) -> None:
    """H.264 with this pixel format needs even sides; where ffmpeg refuses there is no file."""
    odd = [Image.new("RGB", (63, 47))]
    assert save_film(odd, tmp_path / "turntable.mp4", 80) is None
    assert list(tmp_path.iterdir()) == []


def test_without_ffmpeg_there_is_no_film(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No program, no file, no failure."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert save_film(FRAMES, tmp_path / "turntable.mp4", 80) is None
