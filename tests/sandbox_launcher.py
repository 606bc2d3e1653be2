"""Take on the limits of the service file inside bubblewrap, then become the command: run by tests/sandbox.py.

    python sandbox_launcher.py SPECIFICATION_JSON COMMAND...

What bubblewrap sets up (mounts, namespaces) is already there; here come the account, the resource limits, the
capabilities and the system call filter, which must be last because the steps before it are not allowed by it.
"""

import ctypes
import errno
import json
import os
import resource
import sys
from typing import Any

import pyseccomp as seccomp

PR_CAPBSET_READ, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 23, 24, 38
CLONE_NAMESPACES = 0x7E020080
"""CLONE_NEWNS, CLONE_NEWCGROUP, ...UTS, ...IPC, ...USER, ...PID, ...NET, and CLONE_NEWTIME."""
ORDINARY_POLICIES = (os.SCHED_OTHER, os.SCHED_BATCH, os.SCHED_IDLE)


def become(specification: dict[str, Any]) -> None:
    """Give up everything that the service does not have."""
    os.umask(int(specification["umask"], 8))
    for name, value in specification["limits"].items():
        resource.setrlimit(getattr(resource, name), (value, value))
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    for capability in range(64):
        if prctl(PR_CAPBSET_READ, capability, 0, 0, 0) == 1:
            assert prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0
    os.setgroups([])
    os.setgid(specification["gid"])
    os.setuid(specification["uid"])
    assert prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    load_filter(specification["system_calls"])


def load_filter(allowed: list[str]) -> None:
    """Allow the listed calls, four of them only with harmless arguments; everything else is EPERM."""
    program = seccomp.SyscallFilter(seccomp.ERRNO(errno.EPERM))
    only_unix = [(seccomp.Arg(0, seccomp.EQ, 1),)]
    no_namespace = [(seccomp.Arg(0, seccomp.MASKED_EQ, CLONE_NAMESPACES, 0),)]
    default_personality = [(seccomp.Arg(0, seccomp.EQ, value),) for value in (0, 0xFFFFFFFF)]
    ordinary = [(seccomp.Arg(1, seccomp.EQ, policy),) for policy in ORDINARY_POLICIES]
    restricted = {
        "socket": only_unix,
        "clone": no_namespace,
        "personality": default_personality,
        "sched_setscheduler": ordinary,
        "unshare": [],
        "setns": [],
    }
    for name in allowed:
        if name == "clone3":
            # Its flags are behind a pointer; the C library falls back to clone.
            program.add_rule(seccomp.ERRNO(errno.ENOSYS), name)
            continue
        for arguments in restricted.get(name, [()]):
            try:
                program.add_rule(seccomp.ALLOW, name, *arguments)
            except OSError:
                continue  # a call of another processor
    program.load()


if __name__ == "__main__":
    become(json.loads(sys.argv[1]))
    os.execv(sys.argv[2], sys.argv[2:])
