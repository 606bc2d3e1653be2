"""Is a folder complete?  One look at it, and what is to be done next.

A look reads names, sizes and times, walks the chunks of every needed PNG once, and compares with the look
before.  Nothing depends on wall-clock time: only on equality and on the monotonic clock, so that files from the
past or the future and clock jumps change nothing.
"""

import json
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache

from daemon import folders, names
from daemon.archive import ArchiveUnfinished
from daemon.config import Config
from daemon.contents import Contents, only_archive, opened_contents
from daemon.errors import ErrorCode, Failure, failure_from_error
from daemon.folders import Tree
from daemon.options import JobOptions, build_options, default_options, parse_options
from recon.capture.layout import find_layout
from recon.errors import CaptureError, CorruptInput, ForbiddenFile, InvalidArchive, InvalidOptions, ReconError

MAX_MANIFEST_BYTES = 16 << 20
SLOWEST_LOOK_S = 30.0
"""A folder that has not changed for long is looked at this often at the least."""
CONFIRM_NOTE = "To cancel this job, add a second file named CANCEL.confirm."
TICK_S = 0.1
"""Changes closer together than this may share one modification time."""


class Verdict(Enum):
    """What a look found."""

    WAIT = "wait"
    TAKE = "take"
    REFUSE = "refuse"
    CANCEL = "cancel"
    BATCH = "batch"
    """A folder of job folders."""


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A file that is there but not whole.

    Attributes:
        fraction: How much of it has arrived, 0 to 1.
        error: What it means if it never changes again.
    """

    file: str
    fraction: float
    error: ReconError


@dataclass(frozen=True, slots=True)
class Inspection:
    """What a job consists of and lacks."""

    options: JobOptions | None = None
    missing: tuple[str, ...] = ()
    unfinished: tuple[Unfinished, ...] = ()
    pictures: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Look:
    """The result of one look.

    Attributes:
        found: What the job consists of and lacks.
        note: A sentence for the user, when there is more to say.
        failure: Why the folder is refused.
        next_s: Monotonic time of the next look worth taking, whatever events say.
    """

    verdict: Verdict
    found: Inspection = Inspection()
    note: str = ""
    failure: Failure | None = None
    next_s: float = 0.0


@dataclass(slots=True)
class Memory:
    """What earlier looks at one folder saw, in little space: 10,000 folders may wait.

    Attributes:
        fingerprint: Of the last look's tree; None while the folder cannot be walked.
        complaint: Why it could not be walked.
        changed_s: Monotonic time of the last difference.
        whole: Hashes of pictures, by path and ``FileSeen``, that were found whole.
        lacking: The last inspection, if files were missing and nothing has changed since.
        total_bytes: Of the last look's files.
    """

    fingerprint: int | None = None
    complaint: str = ""
    changed_s: float = 0.0
    whole: "array[int]" = field(default_factory=lambda: array("q"))
    lacking: Inspection | None = None
    total_bytes: int = 0

    def note(self, fingerprint: int | None, complaint: str, now_s: float) -> float:
        """Remember a look and return for how long nothing has changed."""
        if self.changed_s == 0.0 or (fingerprint, complaint) != (self.fingerprint, self.complaint):
            self.changed_s = now_s
            self.lacking = None
        self.fingerprint, self.complaint = fingerprint, complaint
        return now_s - self.changed_s


@dataclass(frozen=True)
class Quiet:
    """For how long nothing has changed, and how long is asked for."""

    now_s: float
    quiet_s: float
    settle_s: float
    is_ready: bool


def look(folder_fd: int, memory: Memory, now_s: float, config: Config, settle_s: float) -> Look:
    """Look at one folder.

    Args:
        folder_fd: The folder.
        memory: Of this folder; updated.
        now_s: Monotonic time.
        config: Limits and times.
        settle_s: How long nothing must have changed; longer on a network mount.

    Raises:
        OSError: The share does not answer; try again.
    """
    try:
        tree = folders.list_tree(folder_fd, config.limits.tree)
    except CaptureError as error:
        quiet_s = memory.note(None, error.message, now_s)
        return _refuse_when_settled(error, Quiet(now_s, quiet_s, settle_s, is_ready=False))
    memory.total_bytes = tree.total_bytes
    quiet = Quiet(now_s, memory.note(tree.fingerprint, "", now_s), settle_s, is_ready="ready" in tree.control)
    if is_cancelled(tree, needs_confirmation=config.cancel.confirm):
        return Look(Verdict.CANCEL, next_s=now_s)
    if memory.lacking is None and is_batch(folder_fd, tree):
        return Look(Verdict.BATCH, next_s=now_s)
    try:
        found = memory.lacking or _inspect(folder_fd, tree, memory, config)
    except ReconError as error:
        return _refuse_when_settled(error, quiet)
    if found.missing and not found.unfinished and quiet.quiet_s >= TICK_S:
        memory.lacking = found
    if found.missing or found.unfinished:
        return _wait_or_give_up(found, quiet, tree, config)
    return _take_when_settled(found, quiet, tree, config)


def is_cancelled(tree: Tree, *, needs_confirmation: bool) -> bool:
    """Whether the user put CANCEL into the folder, and CANCEL.confirm where that is asked for."""
    files = tree.control.get("cancel", ())
    return any(names.is_confirmed_cancel(name) for name in files) if needs_confirmation else bool(files)


def is_batch(folder_fd: int, tree: Tree) -> bool:
    """Whether the folder only holds folders that are jobs themselves.

    A layout of the folder's own wins: ``multi_views/`` and ``images/`` belong to one job.
    """
    has_own_files = any("/" not in path for path in tree.files)
    if not tree.folders or has_own_files or _is_job(folder_fd, "", tuple(tree.files)):
        return False
    for folder in tree.folders:
        inside = tuple(path[len(folder) + 1 :] for path in tree.files if path.startswith(folder + "/"))
        if _is_job(folder_fd, folder + "/", inside):
            return True
    return False


def _is_job(folder_fd: int, prefix: str, paths: tuple[str, ...]) -> bool:
    if any("/" not in path and (path.lower() in names.OPTION_FILES or path.lower().endswith(".zip")) for path in paths):
        return True
    try:
        return (
            find_layout(paths, lambda path: folders.read_bytes(folder_fd, prefix + path, MAX_MANIFEST_BYTES), None).kind
            != "unknown"
        )
    except ReconError:
        return True


def _inspect(folder_fd: int, tree: Tree, memory: Memory, config: Config) -> Inspection:
    archive = only_archive(tree)
    limits = config.limits
    if len(memory.whole) > 2 * len(tree.files) + 16:  # mostly of files as they were before
        del memory.whole[:]
    try:
        with opened_contents(folder_fd, tree, memory.whole, limits, limits.max_image_pixels) as contents:
            return inspect(contents, config.defaults, limits.max_image_pixels)
    except ArchiveUnfinished as error:
        damaged = InvalidArchive(f"The archive is damaged or cut off ({error}).", file=names.shown(archive))
        return Inspection(unfinished=(Unfinished(archive, 0.0, damaged),))


def inspect(contents: Contents, defaults: Mapping[str, object], max_image_pixels: int) -> Inspection:
    """Read the options, recognise the layout and check every needed picture.

    Raises:
        ReconError: What no waiting can mend: wrong options, an impossible manifest, a file that is no picture.
    """
    _refuse_twins(contents.paths)
    options = read_options(contents, defaults, max_image_pixels)
    layout = find_layout(contents.paths, lambda path: contents.read(path, MAX_MANIFEST_BYTES), options.views)
    present = set(contents.paths)
    needed = [path for view in layout.views for path in (view.colour, view.depth, view.mask) if path in present]
    pictures = tuple(dict.fromkeys(path for path in needed if path is not None))
    unfinished: list[Unfinished] = []
    for path in pictures:
        try:
            contents.check(path)
        except CorruptInput as error:
            fraction = error.details.get("complete_fraction", 0.0)
            unfinished.append(Unfinished(path, float(fraction) if isinstance(fraction, int | float) else 0.0, error))
    missing = layout.missing if pictures or layout.missing else ("view_00.png",)
    return Inspection(options, _shared(missing), tuple(unfinished), _shared(pictures))


@lru_cache(maxsize=256)
def _shared(paths: tuple[str, ...]) -> tuple[str, ...]:
    """One tuple for all equal ones: most of 10,000 waiting folders hold and lack files of the same names."""
    return paths


def _refuse_twins(paths: tuple[str, ...]) -> None:
    """Two names that Windows and macOS take for one: which of them is meant is not for us to guess."""
    first_by_key: dict[str, str] = {}
    for path in paths:
        first = first_by_key.setdefault(names.unique_key(path), path)
        if first != path:
            raise ForbiddenFile(
                f"{names.shown(first)} and {names.shown(path)} differ only in capitals or accents.",
                file=names.shown(path),
                suggestion="Rename or remove one of the two.",
            )


def read_options(contents: Contents, defaults: Mapping[str, object], max_image_pixels: int) -> JobOptions:
    """Find and check job.toml or job.json.

    Raises:
        InvalidOptions: There are two of them, or one holds a mistake.
        InputTooLarge: It is larger than 64 KiB.
    """
    files = [path for path in contents.paths if path.lower() in names.OPTION_FILES]
    if len(files) > 1:
        raise InvalidOptions(
            f"{files[0]} and {files[1]} are both there.", file=files[1], suggestion="Keep one of them."
        )
    if not files:
        return default_options(json.dumps(defaults, sort_keys=True, default=str), max_image_pixels)
    values = parse_options(files[0], contents.read(files[0], names.MAX_OPTIONS_BYTES))
    return build_options(values, defaults, max_image_pixels, files[0])


def _refuse_when_settled(error: ReconError, quiet: Quiet) -> Look:
    """A mistake that no waiting can mend still waits for the copier, which would fail if the folder moved away."""
    settle_s = 0.0 if quiet.is_ready else quiet.settle_s
    if quiet.quiet_s >= settle_s:
        return Look(Verdict.REFUSE, failure=failure_from_error(error), next_s=quiet.now_s)
    return Look(Verdict.WAIT, note=error.message, next_s=quiet.now_s + settle_s - quiet.quiet_s)


def _take_when_settled(found: Inspection, quiet: Quiet, tree: Tree, config: Config) -> Look:
    settle_s = 0.0 if quiet.is_ready else quiet.settle_s
    if tree.temporary and not quiet.is_ready:
        settle_s = max(settle_s, config.intake.damaged_after_s)
    if quiet.quiet_s >= settle_s:
        return Look(Verdict.TAKE, found, next_s=quiet.now_s)
    return Look(Verdict.WAIT, found, _note(tree, config), next_s=quiet.now_s + settle_s - quiet.quiet_s)


def _wait_or_give_up(found: Inspection, quiet: Quiet, tree: Tree, config: Config) -> Look:
    asked_s = found.options.incomplete_after_s if found.options else None
    patience_s = asked_s or config.intake.incomplete_after_s
    # Somebody who wrote READY, or a closed archive, promises that nothing more comes.
    is_promised = quiet.is_ready or bool(only_archive(tree) and not found.unfinished)
    if is_promised or not found.missing:
        patience_s = min(patience_s, config.intake.damaged_after_s)
    if quiet.quiet_s < patience_s:
        pause_s = min(max(config.intake.scan_s, quiet.quiet_s / 4), SLOWEST_LOOK_S)
        # A new file in the folder itself changes its signature, which the scan sees; all else must be looked for.
        is_scan_enough = not (found.unfinished or tree.folders or tree.temporary)
        if is_scan_enough and quiet.quiet_s >= max(quiet.settle_s, TICK_S):
            pause_s = patience_s
        pause_s = min(pause_s, patience_s - quiet.quiet_s)
        return Look(Verdict.WAIT, found, _note(tree, config), next_s=quiet.now_s + pause_s)
    failure = (
        _incomplete(found.missing, quiet.quiet_s) if found.missing else failure_from_error(found.unfinished[0].error)
    )
    return Look(Verdict.REFUSE, found, failure=failure, next_s=quiet.now_s)


def _incomplete(missing: tuple[str, ...], quiet_s: float) -> Failure:
    shown = [names.shown(name) for name in missing]
    listed = ", ".join(shown[:6]) + (f" and {len(shown) - 6} more" if len(shown) > 6 else "")
    message = f"The folder is incomplete: {listed} did not arrive, and nothing changed for {quiet_s:.0f} s."
    return Failure(ErrorCode.INPUT_INCOMPLETE, message, file=shown[0], stage="intake", details={"missing": shown})


def _note(tree: Tree, config: Config) -> str:
    if config.cancel.confirm and "cancel" in tree.control:
        return CONFIRM_NOTE
    if tree.temporary:
        return f"A copy is under way: {names.shown(tree.temporary[0])}."
    return ""
