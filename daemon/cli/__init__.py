"""The commands.  Rich output on a terminal, plain lines in a pipe, JSON with ``--json``; exit codes of daemon.errors.

``cancel`` and ``retry`` do what a user would do: they put a file into the folder.  They work beside a running
daemon, without one, and need no more rights than the user has.
"""

import typer

from daemon import config_commands
from daemon.cli import demo, folder, jobs, share
from daemon.cli.terminal import EXIT_CODES, reporting

__all__ = ["app", "main"]

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Folders of photographs in, textured meshes out.\n\n"
    "Start with  meshdrop demo  to see it work, or  meshdrop init SHARE  and  meshdrop serve --root SHARE.\n\n"
    "Every command takes --json, prints plain lines in a pipe, and has its own --help with examples.",
    epilog="Exit codes: " + " - ".join(f"{code.value} {meaning}" for code, meaning in EXIT_CODES.items()),
)
for command in (
    *(share.init, share.serve, share.health, share.backup, share.doctor),
    *(folder.check, folder.run),
    *(jobs.status, jobs.show, jobs.cancel, jobs.retry),
    demo.demo,
):
    app.command()(reporting(command))
config_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Check or show the configuration; both take --json.\n\n"
    "\b\nExamples:\n  meshdrop config check\n  meshdrop config show --json",
)
config_app.command()(reporting(config_commands.check))
config_app.command()(reporting(config_commands.show))
app.add_typer(config_app, name="config")


def main() -> None:
    """Run the command that the arguments name."""
    app()


if __name__ == "__main__":
    main()
