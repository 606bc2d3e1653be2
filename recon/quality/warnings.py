"""What the numbers mean for the person who gave the pictures, worst first."""

from collections.abc import Iterator

from recon.scores import QualityReport

CONTRADICTING_FRACTION = 0.02
"""Depth outside the photograph's mask: exact captures stay below 0.001, and a doubled edge shows from here on."""

LITTLE_OBSERVED_FRACTION = 0.7
"""Six views around a plain object see about nine tenths of it."""


MANY_FLIPPED_FRACTION = 0.01
"""Single folded faces at creases do not show; a hundredth of all faces does."""


def find_warnings(report: QualityReport) -> tuple[str, ...]:
    """Sentences in plain words; empty when there is nothing to say."""
    return (*_likeness(report), *_inputs(report), *_surface(report), *_mesh(report))


def _likeness(report: QualityReport) -> Iterator[str]:
    mean, thresholds = report.mean, report.thresholds
    if mean.psnr_db is None or mean.ssim is None:
        yield "No photograph could be compared with the mesh, so its quality is unknown."
    elif report.verdict != "normal":
        yield (
            f"The mesh does not repeat its photographs well: PSNR {mean.psnr_db:.1f} dB and SSIM {mean.ssim:.2f} on "
            f"the object; a normal result has {thresholds.normal_psnr_db:g} dB and {thresholds.normal_ssim:g}."
        )
    for view in report.views:
        if view.note:
            yield f"View {view.name} was not compared. {view.note}"


def _inputs(report: QualityReport) -> Iterator[str]:
    contradicting = [
        f"{view.name} ({view.depth_outside_fraction:.0%})"
        for view in report.views
        if view.depth_outside_fraction is not None and view.depth_outside_fraction > CONTRADICTING_FRACTION
    ]
    if contradicting:
        yield (
            f"Photograph and depth image show different outlines in {', '.join(contradicting)} (share of the depth "
            "outside the photographed object); no mesh can match both. Set fit to depth or photos to say which "
            "to believe."
        )
    agreement_db = report.photos.agreement_db
    if agreement_db is not None and agreement_db < report.thresholds.normal_psnr_db:
        yield (
            f"Where photographs show the same surface, their colours agree only to {agreement_db:.1f} dB, so no "
            "texture can match them all: the light or exposure changed, the surface is glossy, or the cameras are off."
        )


def _surface(report: QualityReport) -> Iterator[str]:
    surface = report.surface
    if surface.observed_fraction < LITTLE_OBSERVED_FRACTION:
        invented = f", {surface.generated_fraction:.0%} invented by the model" if surface.generated_fraction else ""
        yield (
            f"Only {surface.observed_fraction:.0%} of the surface was seen by a camera; {surface.filled_fraction:.0%} "
            f"was filled in{invented}. coverage.png shows where."
        )
    if not report.is_metric:
        yield "Nothing in the folder fixes the true size: lengths are relative to the camera distance."


def _mesh(report: QualityReport) -> Iterator[str]:
    mesh = report.mesh
    if mesh.boundary_loops:
        yield f"The mesh has {mesh.boundary_loops} hole{'s' if mesh.boundary_loops > 1 else ''}."
    if mesh.nonmanifold_edges or mesh.nonmanifold_vertices or mesh.inconsistent_edges:
        yield "The mesh is not a clean surface: some edges or points join more faces than they should."
    if mesh.flipped_faces > MANY_FLIPPED_FRACTION * mesh.face_count:
        yield f"{mesh.flipped_faces} of {mesh.face_count} faces are seen from behind."
    if mesh.is_watertight and mesh.volume < 0:
        yield "The mesh is inside out."
