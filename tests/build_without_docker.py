"""Carry out a Dockerfile's steps in plain folders, as far as a machine without Docker allows.  As root, on Linux:

    python tests/build_without_docker.py cpu --build-arg TORCH_INDEX=https://pypi.org/simple

Every stage gets an overlay over this machine's own root in place of its base image; RUN steps run in it by chroot,
COPY, ENV, USER and WORKDIR do what they say.  At the end the health check and the entry point are tried with the
image's user.  What differs from a real build is printed: base images, and steps that fail (named with --may-fail).
"""

import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]


@dataclass
class Stage:
    """One FROM with its steps."""

    name: str
    base: str
    steps: list[tuple[str, str]] = field(default_factory=list)


@dataclass
class Image:
    """A stage that was carried out: its folder and what its steps set."""

    root: Path
    environment: dict[str, str]
    user: str = "0:0"
    folder: str = "/"
    health: list[str] = field(default_factory=list)
    entry: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)


def read_stages(text: str) -> tuple[dict[str, str], list[Stage]]:
    """The arguments before the first FROM, and the stages in order."""
    joined = re.sub(r"\\\n", " ", "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#")))
    arguments: dict[str, str] = {}
    stages: list[Stage] = []
    for line in filter(None, joined.splitlines()):
        instruction, _, rest = line.strip().partition(" ")
        if instruction == "FROM":
            base, _, name = rest.partition(" AS ")
            stages.append(Stage(name.strip(), base.strip()))
        elif not stages:
            name, _, value = rest.partition("=")
            arguments[name] = value
        else:
            stages[-1].steps.append((instruction, rest.strip()))
    return arguments, stages


class Builder:
    """Carries out stages below ``base``."""

    def __init__(self, base: Path, arguments: dict[str, str], given: dict[str, str], may_fail: str) -> None:
        self._base = base
        self._given = given
        self._arguments = arguments | given
        self._may_fail = re.compile(may_fail) if may_fail else None
        self._images: dict[str, Image] = {}
        self._mounts: list[Path] = []
        self.failed: list[str] = []

    def build(self, stages: list[Stage], target: str) -> Image:
        """Carry out a stage and all that it needs."""
        stage = next(stage for stage in stages if stage.name == target)
        if stage.name in self._images:
            return self._images[stage.name]
        for _, rest in stage.steps:
            if source := re.search(r"--from=(\S+)", rest):
                self.build(stages, source.group(1))
        parent = self.build(stages, stage.base) if stage.base in {other.name for other in stages} else None
        image = self._new_image(stage, parent)
        self._images[stage.name] = image
        local: dict[str, str] = {}
        for instruction, rest in stage.steps:
            self._step(image, local, instruction, rest)
        return image

    def close(self) -> None:
        """Unmount everything."""
        for mount in reversed(self._mounts):
            subprocess.run(["umount", "--lazy", str(mount)], check=False)

    def _new_image(self, stage: Stage, parent: Image | None) -> Image:
        folder = self._base / stage.name
        for part in ("upper", "work", "root"):
            (folder / part).mkdir(parents=True)
        if parent:
            # cp keeps overlay's marks of removed files; an overlay over an overlay is not possible everywhere.
            subprocess.run(["cp", "-aT", str(parent.root.parent / "upper"), str(folder / "upper")], check=True)
        options = f"lowerdir=/,upperdir={folder / 'upper'},workdir={folder / 'work'}"
        self._mount(["-t", "overlay", "overlay", "-o", options], folder / "root")
        for name in ("proc", "dev", "sys"):
            self._mount(["--rbind", f"/{name}"], folder / "root" / name)
        environment = dict(parent.environment) if parent else {"PATH": "/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"}
        base = re.sub(r"\$\{(\w+)\}", lambda name: self._arguments[name.group(1)], stage.base)
        say(f"stage {stage.name}: {'on ' if parent else 'over this machine, not over '}{base}")
        image = Image(folder / "root", environment)
        if parent:
            image.user, image.folder = parent.user, parent.folder
            image.health, image.entry, image.command = parent.health, parent.entry, parent.command
        return image

    def _mount(self, arguments: list[str], target: Path) -> None:
        subprocess.run(["mount", *arguments, str(target)], check=True)
        self._mounts.append(target)

    def _step(self, image: Image, local: dict[str, str], instruction: str, rest: str) -> None:
        match instruction:
            case "ARG":
                name, has_default, value = rest.partition("=")
                local[name] = self._given.get(name, value.strip('"') if has_default else self._arguments.get(name, ""))
            case "ENV":
                for word in shlex.split(rest):
                    name, _, value = word.partition("=")
                    image.environment[name] = value.replace("$PATH", image.environment["PATH"])
            case "USER":
                image.user = rest
            case "WORKDIR":
                image.folder = rest
                (image.root / rest.lstrip("/")).mkdir(parents=True, exist_ok=True)
            case "HEALTHCHECK":
                image.health = json.loads(rest.partition(" CMD ")[2])
            case "ENTRYPOINT":
                image.entry = json.loads(rest)
            case "CMD":
                image.command = json.loads(rest)
            case "COPY":
                self._copy(image, rest)
            case "RUN":
                self._run(image, local, rest)
            case "VOLUME":
                pass
            case _:
                raise SystemExit(f"unknown instruction {instruction}")

    def _copy(self, image: Image, rest: str) -> None:
        words = rest.split()
        source_root = REPOSITORY
        if words[0].startswith("--from="):
            source_root = self._images[words.pop(0).removeprefix("--from=")].root
        *sources, target = words
        to = image.root / (target if target.startswith("/") else f"{image.folder}/{target}").lstrip("/")
        for source in sources:
            path = source_root / source.lstrip("/")
            if path.is_dir():
                shutil.copytree(path, to, symlinks=True, dirs_exist_ok=True)
            else:
                to.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, to)
        say(f"  COPY {rest}")

    def _run(self, image: Image, local: dict[str, str], command: str) -> None:
        started_s = time.monotonic()
        status = run_in(image, local, ["sh", "-c", command], image.user)
        say(f"  RUN {' '.join(command.split())[:90]} -> {status} ({time.monotonic() - started_s:.0f} s)")
        if status == 0:
            return
        if self._may_fail is None or not self._may_fail.search(command):
            raise SystemExit(f"failed with {status}")
        self.failed.append(" ".join(command.split()))


def run_in(image: Image, extra: dict[str, str], command: list[str], user: str) -> int:
    """Run a command with an image's folder as its root."""
    # What this machine needs to reach its package archives comes along.
    through = {name: os.environ[name] for name in os.environ if name.startswith(("PIP_", "SSL_", "REQUESTS_"))}
    variables = [f"{name}={value}" for name, value in (through | image.environment | extra).items()]
    chroot = ["chroot", f"--userspec={user}", str(image.root), "env", "-i", *variables]
    return subprocess.run(
        [*chroot, "sh", "-c", f'cd {shlex.quote(image.folder)} && exec "$@"', "sh", *command], check=False
    ).returncode


def try_image(image: Image) -> None:
    """The entry point as the image's user: make a share, serve it, ask for its health, stop."""
    assert run_in(image, {}, [*image.entry, "init", "/share"], image.user) == 0
    daemon = subprocess.Popen([sys.executable, __file__, "--serve", json.dumps(
        {"root": str(image.root), "environment": image.environment, "user": image.user, "folder": image.folder,
         "command": [*image.entry, *image.command]}
    )])  # fmt: skip
    health_file = image.root / image.environment["MESHDROP_STATE"].lstrip("/") / "health.json"
    deadline_s = time.monotonic() + 120
    while not health_file.exists() and time.monotonic() < deadline_s:
        time.sleep(0.5)
    status = run_in(image, {}, image.health, image.user)
    say(f"HEALTHCHECK {image.health} -> {status}")
    daemon.terminate()
    say(f"SIGTERM -> {daemon.wait(60)}")
    assert status == 0


def serve(about: dict[str, str]) -> None:
    """Become the image's command, as the container's first process would."""
    os.chroot(about["root"])
    os.chdir(about["folder"])
    uid, gid = map(int, about["user"].split(":"))
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
    environment = dict(about["environment"])  # type: ignore[call-overload]
    os.execvpe(about["command"][0], list(about["command"]), environment)


def say(line: str) -> None:
    """Tell at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> None:
    """Build one target and try it."""
    if sys.argv[1:2] == ["--serve"]:
        serve(json.loads(sys.argv[2]))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target")
    parser.add_argument("--build-arg", action="append", default=[])
    parser.add_argument("--may-fail", default="", help="steps that this machine cannot do (regular expression)")
    parser.add_argument("--folder", type=Path, default=None, help="where the stages lie (several GB)")
    asked = parser.parse_args()
    given = dict(argument.split("=", 1) for argument in asked.build_arg)
    arguments, stages = read_stages((REPOSITORY / "Dockerfile").read_text("utf-8"))
    with tempfile.TemporaryDirectory(dir=asked.folder, prefix="meshdrop-build-") as base:
        builder = Builder(Path(base), arguments, given, asked.may_fail)
        try:
            image = builder.build(stages, asked.target)
            if image.entry:
                try_image(image)
        finally:
            builder.close()
    for step in builder.failed:
        say(f"not possible here: {step}")


if __name__ == "__main__":
    main()
