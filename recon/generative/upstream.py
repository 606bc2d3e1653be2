"""The modules that ReconViaGen runs in: its own, and stand-ins for those that a mesh does not need.

Upstream is no package but a checkout that expects to be the current folder, imports renderers and optimisers at its
top, and reads the environment while it is imported.  ``UpstreamModules.active`` gives it all that for the length of
a ``with`` block; before and after, this process knows nothing of it: ``sys.modules``, ``sys.path``, the environment,
the current folder, PyTorch's random numbers and the warning filters are as they were, whatever happened inside.
"""

import contextlib
import importlib
import io
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import torch

from recon.errors import InvalidWeights, ModelUnavailable
from recon.generative.attention import attention_module
from recon.generative.installation import INSTALL_HINT, PACKAGES, Installation
from recon.generative.sparse_convolution import convolution_modules
from recon.settings import ReconViaGenInstallation

UNUSED_MODULES = (
    "cv2",
    "diso",
    "dreamsim",
    "gsplat",
    "huggingface_hub",
    "igraph",
    "lpips",
    "nvdiffrast",
    "nvdiffrast.torch",
    "plyfile",
    "pymeshfix",
    "pymeshfix._meshfix",
    "pyvista",
    "rembg",
    "tqdm",
    "transformers",
    "trimesh",
    "trimesh.visual",
    "utils3d",
    "xatlas",
)
"""Imported by upstream and not needed for a mesh; the real ones, where installed, are not even loaded."""

UPSTREAM_PACKAGES = frozenset({"dinov2", "hubconf", "trellis", "vggt", "wheels"})

ENVIRONMENT = {
    "ATTN_BACKEND": "flash_attn",  # dense and sparse attention both go through our module of that name
    "SPARSE_BACKEND": "spconv",
    "SPCONV_ALGO": "native",
    "XFORMERS_DISABLED": "1",
}


class _Placeholder:
    """What an attribute of an unused module is: good enough for annotations and subclasses, not for a call."""

    def __init__(self, *_: object, **__: object) -> None:
        raise ModelUnavailable(f"ReconViaGen called {type(self).__qualname__}, which the mesh path does not have.")


class _UnusedModule(ModuleType):
    def __init__(self, name: str) -> None:
        super().__init__(name, "Stands in for a module that a mesh does not need.")
        self.__path__: list[str] = []

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(f"{self.__name__}.{name}", (_Placeholder,), {})


class UpstreamModules:
    """Upstream's modules, kept between uses and visible only while active.

    Attributes:
        attention: Which implementation serves: "flash_attn <version>" or "torch".
        sparse_convolution: "torch" or "spconv <version>".

    Raises:
        ModelUnavailable: spconv is configured and not installed.
    """

    def __init__(self, installation: Installation, settings: ReconViaGenInstallation) -> None:
        self._source_dir = installation.source_dir
        self._weights_dir = installation.weights_dir
        self._held: dict[str, ModuleType] = _unused_modules()
        for package in PACKAGES:  # the real ones first: they must not meet the stand-ins
            importlib.import_module(package)
        flash_attn = _installed("flash_attn") if settings.attention == "auto" else None
        self.attention = f"flash_attn {_version(flash_attn)}" if flash_attn else "torch"
        self._held["flash_attn"] = attention_module(flash_attn)
        self.sparse_convolution = "torch"
        if settings.sparse_convolution == "torch":
            self._held |= convolution_modules()
        else:
            spconv = _installed("spconv.pytorch")
            if spconv is None:
                raise ModelUnavailable(
                    'sparse_convolution = "spconv" is configured, but spconv does not load.',
                    suggestion='Ask the operator to install it, or to set reconviagen.sparse_convolution = "torch".',
                )
            self.sparse_convolution = f"spconv {_version(sys.modules['spconv'])}"

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """Let upstream's modules exist; nested use is an error."""
        modules_before, path_before = dict(sys.modules), list(sys.path)
        environment_before, folder_before = dict(os.environ), Path.cwd()
        with (
            tempfile.TemporaryDirectory(prefix="meshdrop-") as scratch,
            warnings.catch_warnings(),
            torch.random.fork_rng(range(torch.cuda.device_count())),
        ):
            warnings.simplefilter("ignore")
            try:
                sys.modules.update(self._held)
                sys.path[:0] = [str(self._source_dir), str(self._source_dir / "wheels" / "vggt")]
                os.environ.update(ENVIRONMENT)
                os.chdir(scratch)  # upstream makes folders where it stands
                with contextlib.redirect_stdout(io.StringIO()):  # and prints while it is imported
                    yield
            finally:
                os.chdir(folder_before)
                os.environ.clear()
                os.environ.update(environment_before)
                sys.path[:] = path_before
                self._take_out(modules_before)

    def _take_out(self, before: dict[str, ModuleType]) -> None:
        """Keep what is upstream's for the next time; leave what others may use as well."""
        for name, module in list(sys.modules.items()):
            if before.get(name) is module and name not in self._held:
                continue
            if name in self._held or self._is_upstream(name, module):
                self._held[name] = module
                if name in before:
                    sys.modules[name] = before[name]
                else:
                    del sys.modules[name]

    def _is_upstream(self, name: str, module: object) -> bool:  # sys.modules holds objects of other kinds too
        if name.partition(".")[0] in UPSTREAM_PACKAGES:
            return True
        file = getattr(module, "__file__", None) or ""
        return any(Path(file).is_relative_to(folder) for folder in (self._source_dir, self._weights_dir) if file)


def _unused_modules() -> dict[str, ModuleType]:
    modules: dict[str, ModuleType] = {name: _UnusedModule(name) for name in UNUSED_MODULES}
    for name, module in modules.items():
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(modules[parent], child, module)
    modules["tqdm"].tqdm = _no_bar  # type: ignore[attr-defined]
    modules["huggingface_hub"].hf_hub_download = _no_download  # type: ignore[attr-defined]
    modules["dreamsim"].dreamsim = _no_network  # type: ignore[attr-defined]
    modules["transformers"].AutoModelForImageSegmentation = _NoBackgroundNetwork  # type: ignore[attr-defined]
    return modules


def _no_bar(items: object = None, **_: object) -> object:
    """In place of a progress bar, what it would have run over."""
    return items


def _no_download(repository: str, file: str, **_: object) -> str:
    """In place of the hub's client, which upstream asks when a file is not where it looked."""
    raise InvalidWeights(f"The weight file {file} of {repository} is not there.", suggestion=INSTALL_HINT)


def _no_network(**_: object) -> tuple[object, None]:
    """In place of DreamSim, which only the refinement that we do not run would ask."""
    return torch.nn.Identity(), None


class _NoBackgroundNetwork:
    """In place of BiRefNet: our pictures come with their masks."""

    @staticmethod
    def from_pretrained(*_: object, **__: object) -> object:
        return torch.nn.Identity()


def _installed(name: str) -> ModuleType | None:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def _version(module: ModuleType) -> str:
    return str(getattr(module, "__version__", "")).strip()
