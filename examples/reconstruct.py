"""Use the library alone: python examples/reconstruct.py FOLDER OUTPUT."""

import sys
from pathlib import Path

import recon


def show(update: recon.ProgressUpdate) -> None:
    sys.stderr.write(f"\r{update.stage:<12}{update.fraction:5.0%}")


folder, output = Path(sys.argv[1]), Path(sys.argv[2])
try:
    report = recon.reconstruct(folder, output, recon.Settings(seed=1), show)
except recon.ReconError as error:
    sys.exit(f"\n{error.code}: {error.message}\n{error.suggestion}")
sys.stdout.write(f"\n{report.verdict}: {output}\n")
