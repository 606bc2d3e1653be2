"""Every tunable of a reconstruction, with its unit in its name.

Values are frozen and validated on construction; an unknown key is an error (the daemon turns it into
OPTIONS_INVALID with the nearest valid name).  Importing this module loads no numerical library.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

DepthEncoding = Literal["auto", "metres", "unsigned", "linear8", "normalised_per_view", "disparity", "near_is_bright"]
MeshFormat = Literal["glb", "obj", "ply"]


class Group(BaseModel):
    """A frozen table of settings that refuses keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class DepthSettings(Group):
    """What the numbers in the depth images mean; explicit values win over inference."""

    encoding: DepthEncoding = "auto"
    """metres: floats; unsigned: integers times unit_m; linear8: 8-bit between near_m and far_m;
    normalised_per_view: 0 is background and each view was scaled to its own maximum; disparity: 1/z times a
    scale; near_is_bright: like normalised_per_view with near and far exchanged."""
    unit_m: Annotated[float, Field(gt=0, le=1)] | None = None
    """Metres per integer step (unsigned), for example 0.001 for millimetres."""
    near_m: Annotated[float, Field(gt=0)] | None = None
    far_m: Annotated[float, Field(gt=0)] | None = None
    is_distance: bool = False
    """The images hold the distance along the ray instead of the depth along the optical axis."""


class FusionSettings(Group):
    """Depths and silhouettes to a signed distance field and a first mesh."""

    grid_resolution: Annotated[int, Field(ge=48, le=512)] | None = None
    """Voxels along the longest side, an even number (an odd one is lowered); None follows the data and the device."""
    denoise: Literal["auto", "on", "off"] = "auto"
    """Whether depth images are smoothed first; auto: where their noise shows.  Whatever is chosen, fusion and
    refinement trust depth by the noise that was found in it."""


class OptimiseSettings(Group):
    """Vertex refinement by differentiable rendering."""

    step_count: Annotated[int, Field(ge=0, le=5000)] | None = None
    """Steps at most, without new faces; it stops early on convergence.  None: up to 10, or up to 22 in five rounds with
    new faces between them where clean depth asks for them."""
    refine_cameras: Literal["auto", "on", "off"] = "auto"
    """Whether cameras that the folder states are refined first, focal lengths included; auto: where they disagree with
    the depths."""


class NvdiffrecSettings(Group):
    """The differentiable-rendering model."""

    fusion: FusionSettings = FusionSettings()
    optimise: OptimiseSettings = OptimiseSettings()


class ReconViaGenSettings(Group):
    """The generative model's samplers (the authors' defaults)."""

    sparse_steps: Annotated[int, Field(ge=1, le=200)] = 30
    sparse_guidance: Annotated[float, Field(ge=0, le=30)] = 7.5
    sparse_guidance_rescale: Annotated[float, Field(ge=0, le=1)] = 0.7
    sparse_time_rescale: Annotated[float, Field(ge=1, le=20)] = 5.0
    """Above 1, more of the steps are spent on the noisy beginning."""
    latent_steps: Annotated[int, Field(ge=1, le=200)] = 12
    latent_guidance: Annotated[float, Field(ge=0, le=30)] = 7.5
    latent_guidance_rescale: Annotated[float, Field(ge=0, le=1)] = 0.5
    latent_time_rescale: Annotated[float, Field(ge=1, le=20)] = 3.0
    guidance_until: Annotated[float, Field(ge=0, le=1)] = 0.6
    """Guidance acts from time 1 (noise) down to this time (0 is the sample), in both samplers."""


class ReconViaGenInstallation(Group):
    """Where the generative model lies on this machine and how it runs; an operator's business, never a job's."""

    source_dir: Path | None = None
    """Checkout of the ReconViaGen repository (docs/models.md names the revision)."""
    weights_dir: Path | None = None
    """Folder with the model's weights (docs/models.md names the files)."""
    low_vram: Literal["auto", "on", "off"] = "auto"
    """Whether parts wait in the machine's memory while others run: slower, but 10 GiB of GPU memory instead of 17."""
    attention: Literal["auto", "torch"] = "auto"
    """auto: flash_attn where it is installed, else PyTorch's own; torch: always PyTorch's."""
    sparse_convolution: Literal["torch", "spconv"] = "torch"
    """torch: our own, nothing to install; spconv: that package, which must be there."""
    idle_unload_s: Annotated[float, Field(ge=0, le=1e7)] = 600.0
    """The weights leave the GPU when no job has used them for so long; 0 unloads after every job."""


class JobSettings(Group):
    """What a job may decide: what to reconstruct and how."""

    model: str = "nvdiffrec"
    """A registered model, or "both" for nvdiffrec and reconviagen side by side."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    device: Literal["auto", "cuda", "cpu"] = "auto"
    raster: Literal["auto", "nvdiffrast", "torch"] = "auto"
    views: Annotated[int, Field(ge=2, le=64)] | None = None
    """Number of views expected when no manifest names them; None means 6."""
    depth: DepthSettings = DepthSettings()
    rig: Literal["auto", "cube", "orbit", "zero123", "free"] = "auto"
    fov_deg: Annotated[float, Field(gt=1, lt=170)] | None = None
    """Horizontal field of view when the folder states no cameras; None solves it."""
    background: Literal["auto", "alpha", "mask", "depth", "plain", "table"] = "auto"
    """Where the object's mask comes from."""
    fit: Literal["balanced", "depth", "photos"] = "balanced"
    """Whom to believe where photographs and depth disagree."""
    texture_px: Annotated[int, Field(ge=256, le=8192)] | None = None
    """Side of the square texture; None follows the photographs."""
    target_faces: Annotated[int, Field(ge=500, le=2_000_000)] | None = None
    """Faces of the mesh, about; None means 40,000."""
    formats: tuple[MeshFormat, ...] = ("glb", "obj", "ply")
    turntable: bool = True
    max_image_pixels: Annotated[int, Field(ge=4096)] = 64_000_000
    """Largest picture that is decoded."""
    nvdiffrec: NvdiffrecSettings = NvdiffrecSettings()
    reconviagen: ReconViaGenSettings = ReconViaGenSettings()


class Settings(JobSettings):
    """What to reconstruct and how, and what the machine offers for it."""

    installation: Annotated[ReconViaGenInstallation, Field(exclude=True)] = ReconViaGenInstallation()
    """Left out of every report: paths of the machine are nobody else's business."""
