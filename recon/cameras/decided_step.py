"""Steps of cameras along what the views decide; what they leave open stays where the given cameras put it.

A ball looks alike however it is turned, and noise then turns it at will.  Motions are compared by how far they move the
object's points, and along each of them the evidence of the surfaces is weighed against what wrong normals alone would
pretend.  The idea of treating degenerate directions apart is Zhang, Kaess and Singh's (2016).
"""

import torch

from recon import frames
from recon.arrays import Float, Tensor
from recon.cameras.agreement import Views
from recon.cameras.normal_equations import Derivatives, NormalEquations
from recon.cameras.rig_state import LOCAL_COUNT, POSE_COUNT, RigState

_PRETENCE = 4.0
"""Surfaces count along motions of which they say more than this times what normals of the typical error pretend: around
noisy solids, motions that depth cannot see showed up to 2.7 times as much, most others more than 10 times."""
_HOLD = 0.03
"""Given cameras weigh this part of the pretence: enough where nothing else speaks."""
_FLOOR = 1e-6


def decided_step(
    equations: NormalEquations, colours: Derivatives | None, state: RigState, given: RigState, views: Views
) -> Float[Tensor, "k 11"]:
    """The Gauss-Newton step of all poses, found on the host: its matrices are small.

    Normals that are wrong by a sine s see a share s^2 of a motion along the surface, whatever the truth is: evidence of
    the surfaces below that size is pretence and left out, so that outlines and colours decide, or else the given
    cameras.

    Args:
        equations: By poses.
        colours: What the photographs add; None when they are not compared.
        state: Where the cameras are.
        given: Where they were said to be.
        views: Their points measure motions.
    """
    metric, pull = (item.cpu() for item in _displacement(state, given, views))
    whiten = torch.linalg.inv(torch.linalg.cholesky(metric))
    surfaces, others = (_whitened(item, whiten) for item in (equations.surfaces, equations.outlines))
    if colours is not None:
        others += _whitened(colours, whiten)
    evidence, motions = torch.linalg.eigh(surfaces.hessian)
    pretence = max(equations.doubt, _FLOOR) * evidence.mean()
    is_seen = evidence > _PRETENCE * pretence
    # Surfaces that meet nowhere pretend nothing, and nothing sets the scale: outlines and colours hardly move cameras.
    hold = _HOLD * pretence or 1.0
    hessian = motions @ (motions * is_seen * evidence).T + others.hessian
    gradient = motions @ (is_seen * (motions.T @ surfaces.gradient)) + others.gradient
    held = hessian + hold * torch.eye(len(hessian), dtype=hessian.dtype)
    along = -torch.linalg.solve(held, gradient + hold * (whiten @ pull))
    step = state.scales.new_zeros(state.count, LOCAL_COUNT)
    step[:, :POSE_COUNT] = (whiten.T @ along).view(state.count, POSE_COUNT)
    return step


def _whitened(derivatives: Derivatives, whiten: Float[Tensor, "p p"]) -> Derivatives:
    """In coordinates in which all steps of one length move the points equally far."""
    return Derivatives(whiten @ derivatives.hessian @ whiten.T, whiten @ derivatives.gradient)


def _displacement(state: RigState, given: RigState, views: Views) -> tuple[Float[Tensor, "p p"], Float[Tensor, " p"]]:
    """Second and first derivatives of half the mean squared distance of the points from their given places."""
    points = state.points_camera(views.samples.pixels_px, views.samples.depth)
    given_from_state = frames.invert_rigid(given.world_from_camera) @ state.world_from_camera
    moved = (frames.transform_points(given_from_state, points) - points) @ given_from_state[:, :3, :3]
    axes = torch.eye(3, dtype=points.dtype, device=points.device).expand(*points.shape, 3)
    turns = torch.linalg.cross(points[..., None, :].expand_as(axes), axes)
    by_pose = torch.cat([turns, axes], -1).flatten(1, 2)
    share = 1 / (state.count * points.shape[1])
    blocks = share * by_pose.transpose(1, 2) @ by_pose
    pull = share * (by_pose.transpose(1, 2) @ moved.flatten(1)[..., None])
    return torch.block_diag(*blocks), pull.flatten()
