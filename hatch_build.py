"""Puts the compiled kernel into the wheel; without a compiler it is compiled at first use."""

import importlib.util
import platform
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

NATIVE = Path("src/mlrun/training/engines/native")


class CompiledKernel(BuildHookInterface[Any]):
    """Hatchling's hook: runs before a wheel is put together."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and make it a wheel of this platform."""
        if self.target_name != "wheel" or version == "editable":
            return
        compiler = _load(Path(self.root) / NATIVE / "compiler.py")
        folder = Path(self.root) / "build"
        folder.mkdir(exist_ok=True)
        x86 = platform.machine() in ("x86_64", "AMD64")
        try:
            for variant in [*compiler.MARCH] if x86 else ["baseline"]:
                library = folder / compiler.shipped(variant).name
                compiler.compile_to(library, variant)
                place = NATIVE.relative_to("src") / library.name
                build_data["force_include"][str(library)] = str(place)
        except compiler.Unavailable as reason:
            self.app.display_warning(f"no compiled kernel in this wheel: {reason}")
            build_data["force_include"].clear()
            return
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{_platform()}"


def _load(path: Path) -> Any:
    """The module at `path` without its package, which would import torch."""
    spec = importlib.util.spec_from_file_location("compiler", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _platform() -> str:
    """The kernel uses no Python: any Python of this platform may load it."""
    from packaging.tags import platform_tags

    return next(iter(platform_tags()))
