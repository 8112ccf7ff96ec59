"""Says how much of the guides and the chapter is translated, and warns where too little is.

A warning fails the build. The translations are in `locale/`, and the Japanese README is a file of
its own.
"""

from collections.abc import Iterable

from docutils.nodes import document
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging

FOLDERS, LEAST = ("chapter/", "guides/"), 0.9
"""Pages that are translated, and the share of their messages that has to be."""
KEY = "translated messages"


def note_progress(app: Sphinx, tree: document) -> None:
    """Keep the numbers of a page's messages, translated and all."""
    # Absent where messages are gathered and not replaced.
    if progress := tree.get("translation_progress"):
        numbers = f"{progress['translated']} {progress['total']}"
        app.env.metadata[app.env.docname][KEY] = numbers


def tell_progress(app: Sphinx, env: BuildEnvironment) -> Iterable[str]:
    """Print how much is translated; warn where it is less than ``LEAST``."""
    language = app.config.language
    pages = [values for name, values in env.metadata.items() if name.startswith(FOLDERS)]
    numbers = [[int(number) for number in values[KEY].split()] for values in pages if KEY in values]
    total = sum(number for _, number in numbers)
    if language == "en" or not total:
        return []
    share = sum(number for number, _ in numbers) / total
    print(f"{share:.1%} of {total} messages are in the language {language}")
    if share < LEAST:
        logging.getLogger(__name__).warning(
            "%.1f%% of the messages are translated into %s, at least %.0f%% have to be; "
            "CONTRIBUTING.md says how",
            100 * share,
            language,
            100 * LEAST,
        )
    return []


def setup(app: Sphinx) -> dict[str, bool]:
    """Register what this extension does with Sphinx."""
    app.connect("doctree-read", note_progress)
    app.connect("env-updated", tell_progress)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
