"""How good a mesh is: the numbers and the verdict as pure data; docs/quality.md defines every one.

A score that could not be measured is ``None``, never 0.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict

Verdict = Literal["normal", "warning", "failure"]

VERDICTS_BEST_FIRST: tuple[Verdict, ...] = ("normal", "warning", "failure")


class Record(BaseModel):
    """A frozen value that refuses keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Thresholds(Record):
    """What the verdict asks of the mean scores on the object's own pixels."""

    normal_psnr_db: float = 25.0
    normal_ssim: float = 0.85
    warning_psnr_db: float = 20.0
    warning_ssim: float = 0.75

    def verdict(self, psnr_db: float | None, ssim: float | None) -> Verdict:
        """The verdict for two mean scores; what could not be measured is a failure."""
        if psnr_db is None or ssim is None:
            return "failure"
        if psnr_db >= self.normal_psnr_db and ssim >= self.normal_ssim:
            return "normal"
        return "warning" if psnr_db >= self.warning_psnr_db and ssim >= self.warning_ssim else "failure"


class ViewScores(Record):
    """How well the mesh, drawn into a camera, repeats what that camera measured.

    Attributes:
        psnr_db, ssim: On the object's own pixels, the union of both masks; these decide the verdict.
        psnr_image_db, ssim_image: Over the whole picture on white, which flatters; other tools report these.
        depth_mae_m, depth_rmse_m: Along the optical axis; None when lengths are not metric.
        depth_mae_percent, depth_rmse_percent: The same in percent of the mesh's diagonal.
        mask_iou: Silhouette of the mesh against the photograph's mask.
        photo_depth_iou: The photograph's mask against the outline in the depth image, holes in the depth included.
        depth_outside_fraction: Share of the object's depth that lies outside the photograph's mask: there the inputs
            contradict each other.
    """

    psnr_db: float | None = None
    ssim: float | None = None
    psnr_image_db: float | None = None
    ssim_image: float | None = None
    depth_mae_m: float | None = None
    depth_rmse_m: float | None = None
    depth_mae_percent: float | None = None
    depth_rmse_percent: float | None = None
    mask_iou: float | None = None
    photo_depth_iou: float | None = None
    depth_outside_fraction: float | None = None


class ViewQuality(ViewScores):
    """The scores of one view; ``note`` says why a view could not be compared."""

    name: str
    note: str = ""


class SurfaceShares(Record):
    """Shares of the textured surface's area, adding up to 1."""

    observed_fraction: float
    filled_fraction: float
    generated_fraction: float


class MeshChecks(Record):
    """Facts of the mesh after equal positions are merged, as a program that opens the files sees it.

    Attributes:
        is_watertight: Every edge has exactly two faces, which run along it in opposite directions.
        boundary_loops: Separate holes.
        nonmanifold_vertices: Points where the surface touches itself in a single vertex.
        flipped_faces: Faces that cameras see mainly from behind.
        degenerate_faces: Faces without area.
        genus: Handles, summed over components; None unless watertight.
        volume: Signed, in cubic world units; positive when faces look outwards.
        diagonal: Of the bounding box, in world units.
    """

    vertex_count: int
    face_count: int
    component_count: int
    is_watertight: bool
    boundary_edges: int
    boundary_loops: int
    nonmanifold_edges: int
    nonmanifold_vertices: int
    inconsistent_edges: int
    degenerate_faces: int
    flipped_faces: int
    genus: int | None
    volume: float
    diagonal: float


class PhotoAgreement(Record):
    """How far photographs agree with one another, whatever the texture.

    Attributes:
        overlap_fraction: Share of the surface points that two or more photographs show well.
        agreement_db: PSNR of the photographs against their own mean at those points: no texture can do better there.
    """

    overlap_fraction: float
    agreement_db: float | None


class QualityReport(Record):
    """Numbers and verdict for one mesh.

    Attributes:
        is_metric: Whether world units are metres; otherwise they are relative to the camera distance.
        mean: Means over the views for which a score exists.
        warnings: Sentences that the user should read.
    """

    verdict: Verdict
    thresholds: Thresholds = Thresholds()
    is_metric: bool
    mean: ViewScores
    views: tuple[ViewQuality, ...]
    surface: SurfaceShares
    mesh: MeshChecks
    photos: PhotoAgreement
    warnings: tuple[str, ...] = ()

    def to_json(self) -> str:
        return self.model_dump_json(indent=2)
