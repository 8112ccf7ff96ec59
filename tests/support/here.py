"""A worker in this process."""

import importlib
from types import ModuleType
from typing import Any


class Here:
    """Answers what a worker is asked, from a backend's package that is loaded here.

    Args:
        package: Of its backend.
    """

    def __init__(self, package: ModuleType) -> None:
        self.package = package

    def ask(self, task: str, timeout: float, **arguments: Any) -> Any:
        module, function = f"benchmarks.{task}".rsplit(".", 1)
        return getattr(importlib.import_module(module), function)(self.package, **arguments)

    def close(self) -> None:
        pass
