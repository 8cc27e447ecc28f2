"""Packages that only an extra of robopref brings."""

import os
from typing import Any

import pytest


def import_extra(module: str, extra: str) -> Any:
    """Return an optional package, or skip the test; fail it where the extra was installed.

    `make install` keeps the extras that it installed; `make test` names them in ROBOPREF_EXTRAS.
    A package that is missing all the same would leave its tests out without a word.
    """
    if extra in os.environ.get("ROBOPREF_EXTRAS", "").split(","):
        try:
            return pytest.importorskip(module)
        except pytest.skip.Exception as error:
            pytest.fail(f"The extra '{extra}' was installed, and {module} is missing: {error}")
    return pytest.importorskip(module, reason=f"needs the extra '{extra}'")
