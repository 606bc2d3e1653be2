"""What the daemon thinks of each file of a folder, before the folder is copied anywhere."""

from dataclasses import dataclass

from daemon import folders, names
from daemon.archive import ArchiveUnfinished
from daemon.config import Config
from daemon.contents import Contents, opened_contents
from daemon.intake import MAX_MANIFEST_BYTES, read_options
from recon.capture.layout import Layout, find_layout
from recon.errors import CorruptInput, ReconError


@dataclass(frozen=True)
class FileVerdict:
    """One file.

    Attributes:
        role: What it is taken for: photograph, depth, mask, cameras, options, or not used.
        verdict: ok, missing, incomplete, refused, or ignored.
        message: What is wrong with it.
    """

    file: str
    role: str
    verdict: str
    message: str = ""


def judge_files(folder_fd: int, config: Config) -> list[FileVerdict]:
    """Every file that the job needs, then those that it does not.

    Raises:
        ReconError: The folder as a whole cannot be understood, so that no file has a role.
        OSError: It cannot be read.
    """
    tree = folders.list_tree(folder_fd, config.limits.tree)
    limits = config.limits
    try:
        with opened_contents(folder_fd, tree, [], limits, limits.max_image_pixels) as contents:
            options = read_options(contents, config.defaults, limits.max_image_pixels)
            layout = find_layout(contents.paths, lambda path: contents.read(path, MAX_MANIFEST_BYTES), options.views)
            return _judge(contents, layout)
    except ArchiveUnfinished as error:
        raise CorruptInput(f"The archive is damaged or cut off ({error}).") from None


def _judge(contents: Contents, layout: Layout) -> list[FileVerdict]:
    present = set(contents.paths)
    roles: dict[str, str] = {}
    for view in layout.views:
        for role, path in (("photograph", view.colour), ("depth", view.depth), ("mask", view.mask)):
            if path is not None:
                roles.setdefault(path, role)
    if layout.manifest:
        roles[layout.manifest] = "cameras"
    needed = [_judge_one(contents, path, role) for path, role in roles.items() if path in present]
    missing = [FileVerdict(names.shown(path), roles.get(path, "needed"), "missing") for path in layout.missing]
    spare = [_spare(path) for path in sorted(present - set(roles))]
    return [*needed, *missing, *spare]


def _judge_one(contents: Contents, path: str, role: str) -> FileVerdict:
    try:
        if role != "cameras":
            contents.check(path)
    except CorruptInput as error:
        fraction = error.details.get("complete_fraction")
        arrived = f" ({fraction:.0%} has arrived)" if isinstance(fraction, float) else ""
        return FileVerdict(names.shown(path), role, "incomplete", error.message + arrived)
    except ReconError as error:
        return FileVerdict(names.shown(path), role, "refused", error.message)
    return FileVerdict(names.shown(path), role, "ok")


def _spare(path: str) -> FileVerdict:
    if path.lower() in names.OPTION_FILES:
        return FileVerdict(names.shown(path), "options", "ok")
    return FileVerdict(names.shown(path), "not used", "ignored")
