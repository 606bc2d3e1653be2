"""The sandbox of systemd/meshdrop.service without systemd: bubblewrap, rlimits, capabilities and seccomp.

Every directive of the unit is either translated here or listed in ``NOT_TRIED``; a test compares both with the
unit, and docs/security.md lists the latter.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from repository import REPOSITORY

UNIT = REPOSITORY / "systemd" / "meshdrop.service"
UID = 64_000
"""Nobody's number, as the account of the service is on a fresh machine."""
SHARE, STATE = Path("/srv/meshdrop"), Path("/var/lib/meshdrop")

HIDDEN = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")
"""ProtectHome= and PrivateTmp=."""

TRIED = {
    "User", "Group", "UMask", "StateDirectory", "StateDirectoryMode", "WorkingDirectory", "ProtectSystem",
    "ReadWritePaths", "ProtectHome", "PrivateTmp", "PrivateMounts", "PrivateNetwork", "RestrictAddressFamilies",
    "DevicePolicy", "ProcSubset", "ProtectProc", "NoNewPrivileges", "CapabilityBoundingSet", "AmbientCapabilities",
    "LockPersonality", "ProtectClock", "ProtectControlGroups", "ProtectHostname", "ProtectKernelLogs",
    "ProtectKernelModules", "ProtectKernelTunables", "RestrictNamespaces", "RestrictRealtime",
    "SystemCallArchitectures", "SystemCallFilter", "SystemCallErrorNumber", "LimitCORE", "LimitNOFILE", "TasksMax",
    "Type", "NotifyAccess", "ExecStart", "WatchdogSec", "KillMode",
}  # fmt: skip
"""Directives whose effect the tests bring about by other means, or play systemd's part in."""

NOT_TRIED = {
    "DeviceAllow": "needs an NVIDIA card; the tests have the standard devices only",
    "EnvironmentFile": "read by systemd; the tests set variables themselves",
    "IPAddressDeny": "a filter of systemd's own; without a network there is nothing left to filter",
    "KeyringMode": "systemd's own session keyring",
    "OOMPolicy": "needs the kernel's memory killer in a control group; a killed worker is tried elsewhere",
    "RemoveIPC": "systemd's clean-up after the stop",
    "Restart": "systemd's part",
    "RestartPreventExitStatus": "systemd's part; the exit statuses are tried",
    "RestartSec": "systemd's part",
    "TimeoutStartSec": "systemd's part",
    "TimeoutStopSec": "systemd's part",
}
"""Directive to the reason why no test here brings it about."""


def directives(unit: Path = UNIT) -> list[tuple[str, str]]:
    """(directive, value) of every line of [Service], in order."""
    service = unit.read_text("utf-8").split("[Service]")[1].split("[Install]")[0]
    lines = [line for line in service.splitlines() if line and not line.startswith(("#", "["))]
    return [(key, value) for key, _, value in (line.partition("=") for line in lines)]


def value_of(directive: str) -> str:
    """The last value of a directive."""
    return dict(directives())[directive]


def allowed_system_calls() -> list[str]:
    """What the unit's SystemCallFilter= lines leave, by systemd's own lists."""
    finished = subprocess.run(["systemd-analyze", "syscall-filter"], capture_output=True, text=True, check=True)
    sets: dict[str, list[str]] = {}
    for line in finished.stdout.splitlines():
        if re.match(r"@[\w-]+$", line):
            members = sets.setdefault(line, [])
        elif line.startswith("    ") and not line.strip().startswith("#"):
            members.append(line.strip())

    def expand(name: str) -> set[str]:
        return set().union(*map(expand, sets[name])) if name.startswith("@") else {name}

    allowed: set[str] = set()
    for key, value in directives():
        if key == "SystemCallFilter":
            named = set().union(*map(expand, value.removeprefix("~").split()))
            allowed = allowed - named if value.startswith("~") else allowed | named
    return sorted(allowed)


def command_in_sandbox(
    share: Path,
    state: Path,
    command: list[str],
    readable: tuple[Path, ...] = (),
    environment: dict[str, str] | None = None,
) -> list[str]:
    """The command line that runs ``command`` as the service would run, share and state at their usual places.

    Args:
        share: Becomes /srv/meshdrop; is given to the service's account.
        state: Becomes /var/lib/meshdrop; likewise.
        command: What to run; its program by its full path.
        readable: Folders outside the usual ones that stay visible, for example that of a notification socket.
        environment: The only variables that the command sees, beside PATH and PYTHONPATH.
    """
    for folder in (share, state):
        for path in (folder, *folder.rglob("*")):
            os.chown(path, UID, UID)
    state.chmod(int(value_of("StateDirectoryMode"), 8))
    arguments = ["bwrap", "--die-with-parent", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"]
    arguments += ["--ro-bind", "/proc/sys", "/proc/sys"]
    arguments += ["--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup", "--unshare-net"]
    # The interpreter of a developer may lie in a home folder, a checkout in a closed one, and what tests made in /tmp.
    needed = sorted({Path(sys.base_prefix), Path(sys.prefix), REPOSITORY, *readable})
    hidden = {*map(Path, HIDDEN), *(closed for folder in needed for closed in closed_parents(folder))}
    for place in sorted(hidden):
        arguments += ["--perms", "1777", "--tmpfs", str(place)]
    for folder in needed:
        if hidden & set(folder.parents):
            for parent in reversed(folder.parents[:-1]):
                arguments += ["--perms", "0755", "--dir", str(parent)]
            arguments += ["--ro-bind", str(folder), str(folder)]
    for inner in (SHARE, STATE):
        # Mount points that this machine lacks cannot be made in a read-only tree.
        arguments += [] if inner.exists() else ["--tmpfs", str(inner.parent)]
    arguments += ["--bind", str(share), str(SHARE), "--bind", str(state), str(STATE)]
    arguments += ["--chdir", str(STATE), "--clearenv"]
    known = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "MESHDROP_ROOT": str(SHARE),
        "MESHDROP_STATE": str(STATE),
    }
    for name, value in (known | (environment or {})).items():
        arguments += ["--setenv", name, value]
    launcher = Path(__file__).with_name("sandbox_launcher.py")
    return [*arguments, sys.executable, "-P", str(launcher), _specification(), *command]


def closed_parents(folder: Path) -> list[Path]:
    """The folder around this one, nearest to the root, that only its owner may enter; empty where there is none."""
    closed = [parent for parent in folder.parents if not parent.stat().st_mode & 0o001]
    return closed[-1:]


def _specification() -> str:
    return json.dumps(
        {
            "uid": UID,
            "gid": UID,
            "umask": value_of("UMask"),
            "limits": {
                "RLIMIT_CORE": int(value_of("LimitCORE")),
                "RLIMIT_NOFILE": int(value_of("LimitNOFILE")),
                "RLIMIT_NPROC": int(value_of("TasksMax")),
            },
            "system_calls": allowed_system_calls(),
        }
    )
