"""``python -m daemon`` is ``meshdrop``."""

from daemon.cli import main

main()
