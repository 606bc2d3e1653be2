"""Ways from a posed capture to a textured mesh: one interface, a registry, one module a model."""

from recon.models.interface import LossEntry, Model, ModelContext, ModelResult
from recon.models.registry import create_model, installed_models, release_models

__all__ = ["LossEntry", "Model", "ModelContext", "ModelResult", "create_model", "installed_models", "release_models"]
