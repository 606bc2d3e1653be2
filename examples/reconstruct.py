"""Use the library alone: python examples/reconstruct.py FOLDER OUTPUT."""

import sys
from pathlib import Path

import recon

folder, output = Path(sys.argv[1]), Path(sys.argv[2])
try:
    report = recon.reconstruct(folder, output)
except recon.ReconError as error:
    sys.exit(f"{error.code}: {error.message}\n{error.suggestion}")
sys.stdout.write(f"quality {report.verdict}: {recon.write_page(report, output, folder.name)}\n")
