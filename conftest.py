"""What pytest needs so that it runs the very set of tests that trial runs.

Trial cases come first: a plain function run before an asynchronous trial case breaks it under
pytest-twisted.  Every test starts in a directory of its own, because trial's ``mktemp`` makes
paths relative to the current one.
"""

from pathlib import Path

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put trial cases before plain functions, otherwise keeping the order."""
    items.sort(key=lambda item: 0 if getattr(item, "cls", None) is not None else 1)


@pytest.fixture(autouse=True)
def _own_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
