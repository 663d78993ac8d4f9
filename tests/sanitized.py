"""A pytest plugin: the kernel compiled so that it ends with a report at the first wrong access.

SANITIZERS names what is looked for, SANITIZED the variant of the kernel.
"""

import os
import tempfile
from pathlib import Path

import platformdirs
import pytest

from mlrun.training.engines.native import compiler, library


@pytest.fixture(scope="session", autouse=True)
def _sanitized_kernel():
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        checked = (f"-fsanitize={os.environ['SANITIZERS']}", "-fno-sanitize-recover=all", "-O1")
        patch.setattr(compiler, "FLAGS", (*compiler.FLAGS, *checked))
        patch.setattr(library, "variant", lambda: os.environ["SANITIZED"])
        patch.setattr(platformdirs, "user_cache_path", lambda _: Path(folder))
        library.load_kernel.cache_clear()
        yield
