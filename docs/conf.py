"""The site: `fcn docs build` builds it from the documents of this folder and from the source."""

import sys
from pathlib import Path

from sphinx.application import Sphinx

DOCS = Path(__file__).parent
sys.path[:0] = [str(DOCS / "_ext"), str(DOCS.parent)]

project = "One network, four frameworks"
author = "the maintainers"
language = "en"
extensions = [
    "myst_nb",
    "sphinx_design",
    "readme",
    "languages",
    "translated",
    "symbols",
    "side_by_side",
    "generated_pages",
    "chapter",
    "names",
]
exclude_patterns = ["_build", "**/.ipynb_checkpoints"]
templates_path = ["_templates"]
locale_dirs = ["locale"]
gettext_compact = False

# As on GitHub, where the same documents are read: `#` links lead to headings, ::: begins a block.
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence", "fieldlist"]
myst_links_external_new_tab = False

# The site opens from disk without a network: whatever a page loads lies beside it.
html_theme = "pydata_sphinx_theme"
html_title = project
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_js_files = ["backends.js", "accessible.js"]
html_sidebars = {"side-by-side/*": [], "chapter/*": []}
html_context = {"default_mode": "auto"}  # Light or dark as the reader's system is.
html_show_search_summary = False  # It fetches pages, which a browser forbids on disk.
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "logo": {"text": "Four frameworks"},
    "header_links_before_dropdown": 6,
    "navbar_align": "left",
    "show_prev_next": True,
    "navbar_persistent": ["search-button-field", "language"],
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": [],
    "footer_end": [],
}


def remove_source_maps(app: Sphinx, error: Exception | None) -> None:
    """Remove what only a developer of the theme needs: it is a tenth of the site."""
    for path in Path(app.outdir).glob("_static/**/*.map"):
        path.unlink()


def setup(app: Sphinx) -> None:
    """Register what is done after a build."""
    app.connect("build-finished", remove_source_maps)
