"""The turntable as an MP4 film, where ffmpeg is installed: mail programs and slides play it, unlike WebP."""

import shutil
import subprocess
from pathlib import Path

from PIL import Image

TIME_LIMIT_S = 60.0


def save_film(frames: list[Image.Image], path: Path, frame_ms: int) -> Path | None:
    """Write an H.264 film of two turns, or nothing where no ffmpeg that can do so is installed.

    Args:
        frames: Pictures of one size with even sides.
        path: Replaced.
        frame_ms: How long each is shown.

    Returns:
        The file, or None: a film is an extra, and its absence is no failure of the reconstruction.
    """
    program = shutil.which("ffmpeg")
    if program is None:
        return None
    width_px, height_px = frames[0].size
    source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width_px}x{height_px}", "-r", f"1000/{frame_ms}"]
    target = ["-c:v", "libx264", "-crf", "20", "-pix_fmt", "yuv420p", "-movflags", "+faststart", str(path)]
    command = [program, "-loglevel", "error", "-y", *source, "-i", "pipe:0", *target]
    pictures = b"".join(frame.convert("RGB").tobytes() for frame in frames) * 2
    try:
        finished = subprocess.run(command, input=pictures, capture_output=True, timeout=TIME_LIMIT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        finished = None
    if finished is None or finished.returncode != 0:
        path.unlink(missing_ok=True)
        return None
    return path
