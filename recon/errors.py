"""Everything that can go wrong in a reconstruction, as a tree by what the user can do about it.

    ReconError
    +-- CaptureError            the folder must be corrected
    |   +-- IncompleteInput, WrongViewCount, NotAnImage, CorruptInput, InputTooLarge, TooManyPixels,
    |   |   SizeMismatch, ForbiddenFile, InvalidDepth, InvalidArchive
    +-- InvalidOptions          job.toml must be corrected
    +-- CameraError             cameras must be given, or the photographs retaken
    |   +-- InvalidCameras, UnsolvedCameras
    +-- ObjectNotFound
    +-- ModelError              the installation or the machine must change
    |   +-- ModelUnavailable, InvalidWeights, OutOfGpuMemory, OutOfMemory, Diverged
    +-- GpuError
    |   +-- GpuUnavailable, GpuTooSmall
    +-- OutputError
        +-- DiskFull, OutputNotWritable

The docstring of a class is the default message; ``suggestion`` says what the person who dropped the
folder does next.  Codes are the public contract of docs/errors.md.
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar


class Cancelled(Exception):
    """The caller asked for the work to stop; raised by progress callbacks, never reported as a failure."""


class ReconError(Exception):
    """The reconstruction failed.

    Attributes:
        code: Stable identifier, documented in docs/errors.md.
        message: One sentence: what is wrong.
        suggestion: One sentence: what to do next.
        file: The file at fault, relative to the capture folder, if there is one.
        stage: The pipeline stage, filled in by the pipeline.
        details: Numbers and names for the curious; JSON-serialisable.
        transient: Trying again later may succeed without any change by the user.
    """

    code: ClassVar[str] = "INTERNAL_ERROR"
    suggestion: str = "Report this with the job's log.jsonl; the input was kept."
    transient: ClassVar[bool] = False

    def __init__(
        self,
        message: str = "",
        *,
        suggestion: str = "",
        file: str = "",
        stage: str = "",
        details: dict[str, object] | None = None,
    ) -> None:
        self.message = message or (type(self).__doc__ or "").split("\n", 1)[0]
        super().__init__(self.message)
        self.suggestion = suggestion or type(self).suggestion
        self.file = file
        self.stage = stage
        self.details: dict[str, object] = details or {}


class CaptureError(ReconError):
    """The job folder cannot be used as it is."""

    suggestion = "Correct the folder and drop it again."


class IncompleteInput(CaptureError):
    """A file that the job needs is missing."""

    code = "INPUT_INCOMPLETE"
    suggestion = "Add the missing file and drop the folder again."


class WrongViewCount(CaptureError):
    """The folder does not hold the number of views that was asked for."""

    code = "INPUT_VIEW_COUNT"
    suggestion = "Give 6 views, or say how many there are with views = N in job.toml (2 to 64)."


class NotAnImage(CaptureError):
    """A file with an image's name is not an image."""

    code = "INPUT_NOT_AN_IMAGE"
    suggestion = "Export the picture again as PNG (photographs may also be JPEG)."


class CorruptInput(CaptureError):
    """An image is damaged or was cut off while copying."""

    code = "INPUT_CORRUPT"
    suggestion = "Copy the file again; if that does not help, export it again."


class InputTooLarge(CaptureError):
    """A file is larger than the limit."""

    code = "INPUT_TOO_LARGE"
    suggestion = "Give smaller files, or ask the operator to raise the limit."


class TooManyPixels(CaptureError):
    """An image has more pixels than the limit."""

    code = "INPUT_TOO_MANY_PIXELS"
    suggestion = "Scale the pictures down (4096 x 4096 is plenty), or ask the operator to raise the limit."


class SizeMismatch(CaptureError):
    """Pictures that must have the same size do not."""

    code = "INPUT_SIZE_MISMATCH"
    suggestion = "Export all photographs at one size and all depth images at one size with the same aspect ratio."


class ForbiddenFile(CaptureError):
    """The folder holds something that is not a plain file or folder."""

    code = "INPUT_FORBIDDEN_FILE"
    suggestion = "Replace links and special files by copies of the real files."


class InvalidDepth(CaptureError):
    """A depth image holds no usable depth."""

    code = "INPUT_DEPTH_INVALID"
    suggestion = "Check the depth export; state its meaning with depth = { encoding = ..., unit_m = ... } in job.toml."


class InvalidArchive(CaptureError):
    """The archive cannot be unpacked safely."""

    code = "ARCHIVE_INVALID"
    suggestion = "Drop the folder itself instead of a zip, or make a plain zip without links or nested archives."


class InvalidOptions(ReconError):
    """job.toml or job.json cannot be used."""

    code = "OPTIONS_INVALID"
    suggestion = "Correct the named key; docs/job-folder.md lists them all."


class CameraError(ReconError):
    """The cameras are not usable."""


class InvalidCameras(CameraError):
    """The camera file is malformed or contradicts itself."""

    code = "CAMERAS_INVALID"
    suggestion = "Correct the named entry of the camera file, or remove the file to have the cameras solved."


class UnsolvedCameras(CameraError):
    """The cameras could not be found from the pictures."""

    code = "CAMERAS_UNSOLVED"
    suggestion = (
        "Give a transforms.json, name the views front, back, left, right, top, bottom, or shoot with more overlap."
    )


class ObjectNotFound(ReconError):
    """No object was found in front of the background."""

    code = "OBJECT_NOT_FOUND"
    suggestion = "Give transparent backgrounds (alpha) or mask files, or photograph against a plain background."


class ModelError(ReconError):
    """The model failed."""


class ModelUnavailable(ModelError):
    """The model that was asked for is not installed here."""

    code = "MODEL_UNAVAILABLE"
    suggestion = 'Use model = "nvdiffrec", or ask the operator to install the model (docs/models.md).'


class InvalidWeights(ModelError):
    """The model's weight files are missing, damaged or of another version."""

    code = "MODEL_WEIGHTS_INVALID"
    suggestion = "Ask the operator to run meshdrop doctor and fetch the weights again."


class OutOfGpuMemory(ModelError):
    """The GPU's memory was not enough."""

    code = "MODEL_OUT_OF_GPU_MEMORY"
    suggestion = "Ask for fewer faces or a smaller texture, or use a GPU with more memory."


class OutOfMemory(ModelError):
    """The machine's memory was not enough."""

    code = "MODEL_OUT_OF_MEMORY"
    suggestion = "Give smaller pictures or fewer views, or ask the operator to raise the memory limit."


class Diverged(ModelError):
    """The optimisation produced numbers that are not finite."""

    code = "MODEL_DIVERGED"
    suggestion = "Run it again with another seed; if it repeats, report the job."


class GpuError(ReconError):
    """The GPU cannot be used."""


class GpuUnavailable(GpuError):
    """No working GPU was found although one is required."""

    code = "GPU_UNAVAILABLE"
    suggestion = "Ask the operator to run meshdrop doctor; the job runs again once the GPU is back."
    transient = True


class GpuTooSmall(GpuError):
    """The GPU has less memory than the model needs."""

    code = "GPU_TOO_SMALL"
    suggestion = 'Use model = "nvdiffrec", or a GPU with the memory that the message names.'


class OutputError(ReconError):
    """The results cannot be written."""


class DiskFull(OutputError):
    """The disk is full."""

    code = "DISK_FULL"
    suggestion = "Free some space; the job runs again by itself."
    transient = True


class OutputNotWritable(OutputError):
    """The results folder cannot be written."""

    code = "OUTPUT_NOT_WRITABLE"
    suggestion = "Ask the operator to check the permissions of the share."
    transient = True


@contextmanager
def writing(file: str) -> Iterator[None]:
    """Say why a result could not be written, in the user's terms.

    Args:
        file: Name of the result, for the message.

    Raises:
        DiskFull: The disk or the quota is used up.
        OutputNotWritable: The folder may not be written to.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(f"The disk is full; {file} could not be written.", file=file) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise OutputNotWritable(f"{file} could not be written: {error.strerror}.", file=file) from error
        raise
