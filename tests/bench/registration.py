"""Registration against known answers: how often, how exactly, how fast.

    python tests/bench/registration.py [--trials 200] [--seed 0] MESH[=CAPTURE] ...

Every trial takes a mesh, removes or deforms a third of its surface in one of five ways, moves it by a random
similarity and registers it back to depth points: those of CAPTURE (a job folder with cameras), or drawn from the mesh
by six cameras around it.
A trial succeeds with the rotation within 1 degree, the scale within 1 % and the offset within 1 % of the diagonal.
Without arguments the analytic solids of tests/shapes.py are used.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

import registration_trials as trials


def cases(arguments: list[str]) -> Iterator[trials.Case]:
    if not arguments:
        yield from (trials.solid_case(name) for name in ("toy", "block_with_hole"))
    for argument in arguments:
        mesh, _, capture = argument.partition("=")
        yield trials.file_case(Path(mesh), Path(capture) if capture else None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=200, help="in all, shared by the meshes and alterations")
    parser.add_argument("--seed", type=int, default=0, help="of the first trial; those of the others follow it")
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("meshes", nargs="*")
    options = parser.parse_args()
    torch.set_num_threads(1)
    loaded = list(cases(options.meshes))
    outcomes = []
    for index in range(options.seed, options.seed + options.trials):
        case = loaded[index % len(loaded)]
        alteration = trials.ALTERATIONS[index // len(loaded) % len(trials.ALTERATIONS)]
        outcome = trials.run(case, alteration, seed=index)
        outcomes.append(outcome)
        if options.verbose or not outcome.is_success:
            sys.stdout.write(f"{index:4} {outcome}\n")
    for case in loaded:
        for alteration in trials.ALTERATIONS:
            of_kind = [item for item in outcomes if item.case == case.name and item.alteration == alteration]
            if of_kind:
                sys.stdout.write(f"{case.name:20} {alteration:8} {trials.summary(of_kind)}\n")
    sys.stdout.write(f"{'all':29} {trials.summary(outcomes)}\n")


if __name__ == "__main__":
    main()
