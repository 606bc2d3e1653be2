"""Each finding gives one sentence with its numbers, and a clean report gives none."""

from recon.quality.warnings import find_warnings
from recon.scores import MeshChecks, PhotoAgreement, QualityReport, SurfaceShares, ViewQuality, ViewScores


def report(**changes: object) -> QualityReport:
    """A faultless report with some fields replaced."""
    fields: dict[str, object] = {
        "verdict": "normal",
        "is_metric": True,
        "mean": ViewScores(psnr_db=31, ssim=0.95),
        "views": (ViewQuality(name="front", psnr_db=31, ssim=0.95, photo_depth_iou=0.995),),
        "surface": SurfaceShares(observed_fraction=0.9, filled_fraction=0.1, generated_fraction=0),
        "mesh": checks(),
        "photos": PhotoAgreement(overlap_fraction=0.4, agreement_db=32),
    }
    return QualityReport.model_validate({**fields, **changes})


def checks(**changes: object) -> MeshChecks:
    fields: dict[str, object] = dict.fromkeys(MeshChecks.model_fields, 0)
    return MeshChecks.model_validate({**fields, "is_watertight": True, "volume": 1, "diagonal": 1, **changes})


def test_clean_report_has_no_warning() -> None:
    """Nothing is said when there is nothing to say."""
    assert find_warnings(report()) == ()


def test_disagreeing_outlines_name_their_views() -> None:
    """Views whose depth lies outside the photographed object are listed; depth with holes is not blamed."""
    views = (
        ViewQuality(name="front", photo_depth_iou=0.9, depth_outside_fraction=0.07),
        ViewQuality(name="top", photo_depth_iou=0.8, depth_outside_fraction=0.0),
    )
    (warning,) = find_warnings(report(views=views))
    assert "front (7%)" in warning
    assert "top" not in warning
    assert "fit" in warning


def test_disagreeing_photographs_are_blamed_not_the_mesh() -> None:
    """The user reads how far the photographs agree among themselves."""
    (warning,) = find_warnings(report(photos=PhotoAgreement(overlap_fraction=0.4, agreement_db=19.84)))
    assert "19.8 dB" in warning


def test_little_observed_surface_is_told() -> None:
    """The shares are given, and invention only where there is some."""
    shares = SurfaceShares(observed_fraction=0.5, filled_fraction=0.3, generated_fraction=0.2)
    (warning,) = find_warnings(report(surface=shares))
    assert "Only 50%" in warning
    assert "30% was filled in, 20% invented" in warning


def test_mesh_faults_are_told_one_by_one() -> None:
    """Holes, joints and flipped faces each get their sentence."""
    mesh = checks(boundary_loops=1, nonmanifold_vertices=2, face_count=600, flipped_faces=7, is_watertight=False)
    warnings = find_warnings(report(mesh=mesh))
    assert [warning.split(".")[0] for warning in warnings] == [
        "The mesh has 1 hole",
        "The mesh is not a clean surface: some edges or points join more faces than they should",
        "7 of 600 faces are seen from behind",
    ]


def test_a_few_folded_faces_are_not_worth_a_warning() -> None:
    """Up to one face in a hundred may be seen from behind without a word."""
    assert find_warnings(report(mesh=checks(face_count=600, flipped_faces=6))) == ()
