"""How far views disagree, in lengths and pixels that a user can judge."""

import math
from dataclasses import dataclass

import torch

from recon.cameras.agreement import Views, compare_all
from recon.cameras.colour_equations import BlurredColours, colour_differences
from recon.cameras.rig_state import RigState


@dataclass(frozen=True)
class Disagreement:
    """What one view shows against what the others show.

    Attributes:
        median, p90: Point-to-plane distances between views, world units.
        violation_share: Share of points that lie visibly outside another view's silhouette (more than a pixel).
        outside_p90_px: How far outside the silhouettes points fall, of those that do; 0 when none does.
        matched_share: Share of (point, other view) pairs that meet on a surface.
        colour: How far the colours of points that meet differ (sRGB, 0..1; median), after one exposure for each pair
            of views; None where they were not compared.
    """

    median: float
    p90: float
    violation_share: float
    outside_p90_px: float
    matched_share: float
    colour: float | None = None

    def text(self, unit: str = "mm", per_unit: float = 1e3) -> str:
        """One sentence with the numbers."""
        colours = "" if self.colour is None else f", colours of one place differ by {self.colour:.2%} (median)"
        return (
            f"surfaces {self.median * per_unit:.3g} {unit} apart "
            f"(median; 90 % within {self.p90 * per_unit:.3g} {unit}), "
            f"{self.violation_share:.1%} of the points outside another view's outline by more than a pixel "
            f"(90 % of these within {self.outside_p90_px:.1f} px){colours}"
        )


def measure_disagreement(
    state: RigState, views: Views, reach: float, colours: BlurredColours | None = None
) -> Disagreement:
    """Compare every view with every other one.

    Args:
        state: The cameras.
        views: What they show.
        reach: Distances beyond this are different surfaces, not disagreement.
        colours: Compared too where they are given.
    """
    distances, differences, outside_px, compared = [], [], [], 0
    for pairs, comparison in compare_all(state, views, reach):
        distances.append(comparison.residual[comparison.on_surface].abs())
        if colours is not None:
            differences.append(colour_differences(pairs, comparison, colours))
        outside_px.append(comparison.outside_px[comparison.outside & (comparison.outside_px > 1)])
        compared += comparison.residual.numel()
    matched, beyond_px = torch.cat(distances), torch.cat(outside_px)
    return Disagreement(
        float(matched.median()) if matched.numel() else math.inf,
        float(matched.quantile(0.9)) if matched.numel() else math.inf,
        beyond_px.numel() / compared,
        float(beyond_px.quantile(0.9)) if beyond_px.numel() else 0.0,
        matched.numel() / compared,
        float(torch.cat(differences).median()) if colours is not None and matched.numel() else None,
    )
