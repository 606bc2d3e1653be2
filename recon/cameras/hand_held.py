"""Hand-held views as one more hypothesis beside the rigs."""

from dataclasses import dataclass, replace

import torch

from recon.cameras.cube import centred_state
from recon.cameras.patches import Colours
from recon.cameras.registration import Growth, best_pair_cost, grow_rig
from recon.cameras.rig_search import Question, RigFit, rank, refine_fit
from recon.cameras.rig_state import RigState

LABEL = "hand-held views, registered with one another"
_FIELDS_OF_VIEW_DEG = (24.0, 34.0, 48.0, 66.0)
"""Registration bears a focal length that is wrong by a quarter."""


@dataclass(frozen=True)
class HandHeld:
    """What registration found.

    Attributes:
        fits: The refined rig, and the same rig with a doubtful view elsewhere; empty when views stay unplaced.
        unplaced: Names of the views that nothing connects to the others.
    """

    fits: tuple[RigFit, ...]
    unplaced: tuple[str, ...]


def fit_hand_held(question: Question, colours: Colours) -> HandHeld:
    """Register the views with one another; only for depths in one common unit."""
    states = [_start(question, field_deg) for field_deg in _fields_deg(question)]
    state = states[0]
    if len(states) > 1:
        state = min(states, key=lambda state: best_pair_cost(state, question.views, colours))
    growth = grow_rig(state, question.views, colours)
    if growth is None:
        return HandHeld((), question.names)
    if growth.unplaced:
        return HandHeld((), tuple(question.names[view] for view in growth.unplaced))
    return HandHeld(_refined(growth, state, question), ())


def _refined(growth: Growth, state: RigState, question: Question) -> tuple[RigFit, ...]:
    starts = [growth.world_from_camera]
    if growth.doubt is not None:
        view, pose = growth.doubt
        starts.append(growth.world_from_camera.clone())
        starts[1][view] = pose
    states = [replace(state, world_from_camera=poses) for poses in starts]
    fits = [RigFit(LABEL, item, rank(item, question), is_exact_rig=False) for item in states]
    return tuple(refine_fit(fit, question) for fit in fits)


def _fields_deg(question: Question) -> tuple[float, ...]:
    return _FIELDS_OF_VIEW_DEG if question.fov_deg is None else (question.fov_deg,)


def _start(question: Question, field_deg: float) -> RigState:
    eyes = torch.eye(4, dtype=torch.float64).repeat(len(question.names), 1, 1)
    return centred_state(question.views, eyes, question.focal_px(field_deg))
