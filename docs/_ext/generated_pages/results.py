"""The stored results: a page for each, its report beside it, and the table of all."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import benchmarks
from benchmarks.commands.bench.history import command_of
from benchmarks.commands.report import render_report
from benchmarks.pages import proof as proofs
from benchmarks.pages.calibration.page import calibration_facts
from benchmarks.pages.calibration.text import calibration_markdown
from benchmarks.pages.facts import compare_facts, proof_facts, study_facts, versions
from benchmarks.pages.format import bound_text, error_text, moment
from benchmarks.pages.history.page import render_page as render_history
from benchmarks.pages.studies import tune as searches
from benchmarks.pages.studies.words import study_markdown
from benchmarks.records.calibration.documents import Calibration
from benchmarks.records.calibration.shares import outcomes
from benchmarks.records.documents import Bench
from benchmarks.records.history.lines import history_of, stored_benchmarks
from benchmarks.records.proof_documents import Proof
from benchmarks.records.results import (
    CALIBRATION,
    COMPARISON,
    PAGES,
    RESULTS,
    STUDY,
    TUNE,
    read_document,
)
from benchmarks.records.training_documents import Compared, Study
from benchmarks.records.tuning_documents import Tune
from common.machine.files import write_text

from . import benchmark
from .markdown import WIDE, code, facts_table, fenced, listed_facts, page, prose, table

PROJECT = Path(benchmarks.__file__).parents[1]
RESULTS_FOLDER = PROJECT / "benchmarks" / "results"
PROOFS_FOLDER = PROJECT / "docs" / "parity"
PROOF = "parity.json"
REPORTS = "results/reports"
"""Folder of a built site with the reports, each a page that needs no other file."""
HISTORY = "history.html"
"""The report over all stored benchmarks, beside theirs."""
TYPES: dict[str, Any] = {
    RESULTS: Bench,
    COMPARISON: Compared,
    STUDY: Study,
    TUNE: Tune,
    CALIBRATION: Calibration,
    PROOF: Proof,
}
"""The name of a file -> the type of the document in it."""
FRAMEWORKS = ("torch", "mxnet", "jax", "tensorflow")
INTRODUCTION = """\
Every stored measurement has a page: its tables, the machine, the versions and the command. Its \
report, one file of its own, has the charts and every sample too. No ratio compares two machines \
or two files. [What was measured, in words](../RESULTS.md) tells the same files as one text, and \
[Performance](../PERFORMANCE.md) explains them."""
PROVED = """\
A relative error against the float64 reference: the largest of each quantity, beside its bound."""


class Source(NamedTuple):
    """The file of a stored document.

    Attributes:
        name: Its folder and name, as in the address of its page.
        kind: Which of ``TYPES`` it is.
    """

    name: str
    file: Path
    kind: str

    @property
    def label(self) -> str:
        """Return its name without that of the machine."""
        return self.name.partition("/")[2]


def sources() -> list[Source]:
    """Return the file of every stored document."""
    files = [file for name in PAGES for file in RESULTS_FOLDER.glob(f"*/*/{name}")]
    measured = [
        Source(file.parent.relative_to(RESULTS_FOLDER).as_posix(), file, file.name)
        for file in sorted(files)
    ]
    proved = sorted(PROOFS_FOLDER.glob("*.json"))
    return [*measured, *(Source(f"parity/{file.stem}", file, PROOF) for file in proved)]


def pages() -> dict[str, str]:
    """Return a page for each stored document, and the table of all.

    Raises:
        InputError: Naming the file that cannot be read.
    """
    documents = {source: read_document(source.file, TYPES[source.kind]) for source in sources()}
    written = {
        f"results/{source.name}.md": result_page(source, document)
        for source, document in documents.items()
    }
    return {"results/index.md": index_page(documents), **written}


def index_page(documents: Mapping[Source, Any]) -> str:
    """Return the table of all results, by machine."""
    benches = [source for source in documents if source.kind == RESULTS]
    machines: dict[str, list[Source]] = {}
    for source in benches:
        machines.setdefault(benchmark.machine(documents[source]), []).append(source)
    sections = []
    for machine, here in machines.items():
        rows = [index_row(source, documents[source]) for source in here]
        lines = [list(rows[0]), *(list(row.values()) for row in rows)]
        used = shared_versions([documents[source] for source in here])
        sections += [f"## {prose(machine)}", used, table(lines), toctree(machine, here)]
    if others := [source for source in documents if source.kind != RESULTS]:
        lines = [["file", "kind", "date"]]
        for source in others:
            date = moment(documents[source]["created"])
            lines.append([link(source), documents[source]["kind"], date])
        title = "Proofs and trainings"
        sections += [f"## {title}", table(lines), toctree(title, others)]
    history = [report_button(f"reports/{HISTORY}", "The same rows, file after file")]
    return page("# Results", INTRODUCTION, *(history if len(benches) > 1 else ()), *sections)


def report_button(address: str, text: str) -> str:
    """Return a button that opens a report: Sphinx does not know these pages."""
    button = f'<p><a class="sd-btn sd-btn-primary" href="{address}">{text}</a></p>'
    return fenced(button, "{raw} html")


def toctree(caption: str, entries: Sequence[Source]) -> str:
    """Return the hidden list by which Sphinx knows the pages below this one."""
    lines = [":hidden:", f":caption: {caption}", ""]
    return fenced("\n".join([*lines, *(f"{e.label} <{e.name}>" for e in entries)]), "{toctree}")


def index_row(source: Source, document: Bench) -> dict[str, str]:
    """Return the row of a benchmark, by column."""
    measured = {head: prose(text) for head, text in benchmark.summary(document).items()}
    date = moment(document["created"]).partition(",")[0].replace(" ", "\u00a0")
    return {"file": link(source), **measured, "date": date}


def shared_versions(documents: Sequence[Bench]) -> str:
    """Return the frameworks' versions in all documents of a machine."""
    used: dict[str, dict[str, None]] = {}
    for document in documents:
        for name, version in benchmark.packages(document).items():
            used.setdefault(name, {})[version] = None
    texts = [f"{name} {' and '.join(used[name])}" for name in FRAMEWORKS if name in used]
    return f"Versions: {prose(', '.join(texts))}. Each page has those of its own."


def link(source: Source) -> str:
    """Return a link to a document's page."""
    return f"[{source.label}]({source.name}.md)"


def result_page(source: Source, document: Any) -> str:
    """Return the page of one document: what it is, its tables, and what they rest on."""
    commit, hardware = document["commit"], document["hardware"]
    facts = {
        "File": code(source.file.relative_to(PROJECT).as_posix()),
        "Date": moment(document["created"]),
        "Commit": code(commit) if commit else "not from a checkout",
        "Machine": prose(
            f"{machine_of(document)}, {hardware['system']}, Python {hardware['python']}"
        ),
    }
    if source.kind == RESULTS:
        facts["Command"] = code(benchmark.command(document))
        facts["Versions"] = prose(versions(benchmark.packages(document)))
    bodies: dict[str, Callable[[Any], Iterator[str]]]
    bodies = {RESULTS: benchmark.blocks, PROOF: proof_blocks}
    body = bodies.get(source.kind, partial(other_blocks, folder=source.file.parent))
    return page(
        WIDE,
        f"(results/{source.name})=\n# {prose(f'{source.label} on {machine_of(document)}')}",
        listed_facts(facts),
        report_button(f"../reports/{source.name}.html", "The whole report"),
        *body(document),
    )


def machine_of(document: Any) -> str:
    """Return the machine that computed, in a few words."""
    if document["kind"] == "bench":
        return benchmark.machine(document)
    return str(document["hardware"]["processor"])


def proof_blocks(proof: Proof) -> Iterator[str]:
    """Yield the parts of the page of a proof."""
    yield prose(proofs.verdict(proof))
    yield f"{prose(proofs.conditions(proof))}. {PROVED}"
    for part in proof["backbones"]:
        yield f"## {prose(part['backbone'])}"
        titles = [row["title"] for row in proofs.proved_rows(part)]
        lines = [
            [quantity, bound_text(bound), *map(error_text, errors), prose(reason)]
            for quantity, bound, reason, errors in proofs.largest(proof, part)
        ]
        heads = ["quantity", "bound", *titles, "reason of the bound"]
        yield table([heads, *lines], range(1, 2 + len(titles)))
    yield f"## What the figures rest on\n\n{facts_table(proof_facts(proof))}"


def other_blocks(document: Any, folder: Path) -> Iterator[str]:
    """Yield the parts of the page of a comparison, a study, a search or a calibration.

    Args:
        document: What is stored.
        folder: Where.
    """
    words: dict[str, tuple[Callable[[Any], str], Callable[[Any], Any]]] = {
        "compare": (lambda _: "", compare_facts),
        "study": (study_markdown, study_facts),
        "tune": (
            lambda stored: searches.search_markdown(
                stored, searches.confirmation(stored, folder) is not None
            ),
            searches.facts,
        ),
        "calibration": (
            lambda stored: calibration_markdown(stored, outcomes(stored)),
            calibration_facts,
        ),
    }
    text, facts = words[document["kind"]]
    yield text(document)
    yield f"## What the figures rest on\n\n{facts_table(facts(document))}"


def write_reports(out: Path, changed: float) -> None:
    """Write each document's report below a folder, and one over all, where they are not up to date.

    Args:
        out: Where ``REPORTS`` is, or comes to be.
        changed: When the code of the reports last changed, as a file's time.
    """
    all_sources = sources()
    benches = [source for source in all_sources if source.kind == RESULTS]
    if len(benches) > 1 and is_due(out / REPORTS / HISTORY, changed, benches):
        write_text(out / REPORTS / HISTORY, history_report())
    for source in all_sources:
        report = out / REPORTS / f"{source.name}.html"
        if not is_due(report, changed, [source]):
            continue
        if source.kind == PROOF:
            proofs.write_page(read_document(source.file, Proof), report)
        else:
            write_text(report, render_report(source.file.parent))


def is_due(report: Path, changed: float, of: Sequence[Source]) -> bool:
    """Tell whether a report has to be written; its folder is made then.

    Args:
        changed: When the code of the reports last changed, as a file's time.
        of: The documents that it shows.
    """
    latest = max(changed, *(source.file.stat().st_mtime for source in of))
    if report.is_file() and report.stat().st_mtime > latest:
        return False
    report.parent.mkdir(parents=True, exist_ok=True)
    return True


def history_report() -> str:
    """Return the page that `fcn bench history` writes of all stored benchmarks."""
    stored = stored_benchmarks([RESULTS_FOLDER])
    # Paths as in the repository, wherever it lies.
    files = [replace(each, path=each.path.relative_to(PROJECT)) for each in stored]
    return render_history(history_of(files), [command_of(each.document) for each in files])
