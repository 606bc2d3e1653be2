"""What kind of file system a folder lies on, by statfs(2)."""

import ctypes
import os
from dataclasses import dataclass
from pathlib import Path

NETWORK_TYPES = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "ncpfs", "afs", "ceph", "9p", "lustre", "glusterfs", "beegfs", "ocfs2",
     "gfs2", "davfs", "fuse.sshfs", "fuse.glusterfs", "fuse.rclone", "fuse.davfs", "fuse.s3fs"}
)  # fmt: skip
"""Types in mountinfo on which other machines write: no events arrive, attributes are cached, WAL is unsafe."""


@dataclass(frozen=True)
class Mount:
    """Where a folder is mounted."""

    point: Path
    kind: str

    @property
    def is_network(self) -> bool:
        """Whether other machines write there behind this kernel's back."""
        return self.kind in NETWORK_TYPES


def mount_of(folder: Path) -> Mount:
    """The mount that holds a folder (the longest mount point that contains it)."""
    resolved = folder.resolve()
    best = Mount(Path("/"), "unknown")
    for line in Path("/proc/self/mountinfo").read_text("utf-8", "surrogateescape").splitlines():
        before, _, after = line.partition(" - ")
        point = Path(_unescaped(before.split()[4]))
        is_closer = len(point.parts) >= len(best.point.parts)
        if is_closer and (point == resolved or point in resolved.parents):
            best = Mount(point, after.split()[0])
    return best


def _unescaped(field: str) -> str:
    """Undo the octal escapes of mountinfo, for example \\040 for a space."""
    return (
        field.encode("utf-8", "surrogateescape")
        .decode("unicode_escape")
        .encode("latin-1")
        .decode("utf-8", "surrogateescape")
    )


def rename_without_replacing(source_fd: int, source: str, target_fd: int, target: str) -> None:
    """Rename unless the target exists, atomically (renameat2 with RENAME_NOREPLACE).

    Raises:
        FileExistsError: The target exists.
        OSError: With EINVAL or ENOSYS where the file system does not know the flag.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    rename_noreplace = 1
    result = libc.renameat2(source_fd, os.fsencode(source), target_fd, os.fsencode(target), rename_noreplace)
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), target)
