"""`fcn docs`: the site of the documents and the source, as pages on disk or on this machine."""

import functools
import http.server
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote

from common.errors import InputError
from common.options import Parser, add_action

PROJECT = Path(__file__).parents[2]
BUILT = PROJECT / "docs" / "_build"
PARTS = ("sphinx", "myst_nb", "pydata_sphinx_theme", "sphinx_design")
"""Modules of the dependency group ``docs`` without which no site is built."""

JAPANESE = "-ja"
"""Behind the name of a site's folder, the name of the folder beside it of the Japanese site."""


def sites_of(site: Path) -> dict[str, Path]:
    """Return language -> the folder of the site in it, from the folder of either."""
    english = site.name.removesuffix(JAPANESE)
    return {"en": site.with_name(english), "ja": site.with_name(f"{english}{JAPANESE}")}


SITES = sites_of(BUILT / "html")
"""Language -> the folder of its site where no other is named."""


def command_parser() -> Parser:
    """Return the command's parser."""
    parser = Parser(prog="fcn docs", description="Build the site of the documents, or serve it.")
    actions = parser.add_subparsers(dest="action", required=True, metavar="build|serve")
    text = "write the site; a second time, only the pages that changed"
    build = add_action(actions, "build", text)
    text = "offer built sites to browsers on this machine, until it is interrupted"
    serve = add_action(actions, "serve", text)
    serve.add_argument("--port", type=int, default=8000, help="0 picks a free one")
    for action in (build, serve):
        text = "the language of the pages"
        action.add_argument("--language", default="en", choices=tuple(SITES), help=text)
        text = (
            "the folder of the site; without it, docs/_build/html or html-ja of the checkout. Pages"
            " lead to the other language where DIR-ja beside DIR is the Japanese site"
        )
        action.add_argument("--out", type=Path, metavar="DIR", help=text)
    return parser


def main(argv: Sequence[str]) -> int:
    """Build the site, or serve it until it is interrupted."""
    args = command_parser().parse_args(argv)
    site = args.out or SITES[args.language]
    if args.action == "serve":
        return serve_site(site, args.port)
    return build_site(site, args.language)


def build_site(site: Path, language: str) -> int:
    """Build the site into a folder and return Sphinx's status; a warning is a failure.

    Raises:
        InputError: Outside a checkout, and where the group ``docs`` is not installed.
    """
    sources = PROJECT / "docs"
    if not (sources / "conf.py").is_file():
        raise InputError("fcn docs: the documents are in a checkout of the repository, not here")
    missing = [name for name in PARTS if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(
            f"fcn docs: {', '.join(missing)} not installed; `uv sync --group docs` installs it"
        )
    from sphinx.cmd.build import main as sphinx

    # What was read is stored beside each language's site, not in it: a site is what is published.
    read = BUILT / f"read-{language}"
    options = ["-nW", "--keep-going", "-q", "-j", "2", "-D", f"language={language}"]
    status = sphinx([*options, "-d", str(read), str(sources), str(site)])
    if not status:
        print(site / "index.html")
        print(f"next: open it in a browser, or `fcn docs serve --out {site}`")
    return status


def serve_site(site: Path, port: int) -> int:
    """Serve a built site on this machine alone until it is interrupted.

    The site in the other language, to which its pages lead, is served too where it is built.
    """
    site = site.resolve()
    if not (site / "index.html").is_file():
        raise InputError(f"--out: {site} holds no site; `fcn docs build` writes one")
    with TemporaryDirectory() as top:
        for folder in sites_of(site).values():
            (Path(top) / folder.name).symlink_to(folder, target_is_directory=True)
        handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=top)
        try:
            server = http.server.ThreadingHTTPServer(("127.0.0.1", port), handler)
        except (OSError, OverflowError) as error:
            raise InputError(f"--port {port}: cannot be used here ({error})") from error
        with server:
            address = f"http://127.0.0.1:{server.server_port}/{quote(site.name)}/"
            print(f"{address}  (Ctrl-C ends it)", flush=True)
            server.serve_forever()
    return 0
