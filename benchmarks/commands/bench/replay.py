"""`fcn bench replay FILE`: a stored benchmark once more, on this machine, and what comes out."""

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from shlex import join, quote

from benchmarks.commands.bench import diff
from benchmarks.pages.format import counted, ratio_text, text_table
from benchmarks.records.comparisons import is_early
from benchmarks.records.diff import Repeated, repeated, unlike
from benchmarks.records.documents import Bench
from benchmarks.records.machines.documents import Gpu
from benchmarks.records.results import RESULTS, kind_of, read_document
from benchmarks.timing.machine import gpu_state
from benchmarks.timing.settings import QUICK, Settings, interpreter
from benchmarks.workers.environment import PROJECT
from common.errors import InputError, notice
from common.fields import arguments_of, with_tuples
from common.machine.children import ending_with_this
from common.machine.files import write_text
from common.machine.provenance import git_commit, hardware, set_by_user
from common.options import Parser
from common.recipe_files import to_toml
from common.recipes import Recipe
from common.run.folders import new_folder

CODE, RECIPE = "code", "recipe.toml"
EARLY = {"head": "fcn32s", "own_recipe": None}
"""Settings that early files lack, and what was measured then."""
HEADS = ("comparison", "there", "here", "")


def command_parser() -> Parser:
    """Return the command's parser."""
    parser = Parser(
        prog="fcn bench replay",
        description="Measure once more, on this machine, what a results file tells: its commit's "
        "code, its settings, its seed. Say before what cannot be made equal, and afterwards which "
        "of its findings were found again.",
    )
    parser.add_argument(
        "file", type=Path, metavar="FILE", help="bench.json, or the folder that holds it"
    )
    parser.add_argument(
        "--python",
        action="append",
        default=[],
        metavar="BACKEND=PATH",
        help="an interpreter of its own for a backend, as `fcn bench` takes it; may be repeated",
    )
    parser.add_argument(
        "--resume", type=Path, metavar="DIR", help="go on with an interrupted replay"
    )
    text = "new folder; by default runs/replay-DATE-TIME"
    parser.add_argument("--out", type=Path, metavar="DIR", help=text)
    parser.add_argument("--force", action="store_true", help="overwrite the results in --out")
    return parser


def main(argv: Sequence[str]) -> int:
    """Measure and compare; the status is that of `fcn bench`."""
    args = command_parser().parse_args(argv)
    if kind_of(args.file) != RESULTS:
        raise InputError(f"{args.file}: only a benchmark, {RESULTS}, is replayed")
    there = read_document(args.file, Bench)
    out = (args.resume or new_folder("replay", args.out, args.force)).absolute()
    if args.resume:
        check_begun(args.resume, there)
    out.mkdir(parents=True, exist_ok=True)
    code, different = code_of(there["commit"], out / CODE)
    interpreters = dict(interpreter(each) for each in args.python)
    different += unequal(there, interpreters)
    if code == PROJECT and is_early(there["settings"]):
        different.append("the design: tests over turns there, over processes here")
    pythons = [f"--python={'='.join(each)}" for each in interpreters.items()]
    command = [*stated(there, out), *pythons]
    variables = variables_of(there)
    if code != PROJECT:
        notice(f"the same code: {there['commit']}, in {code}")
    notice(f"the same settings: {command_line(variables, command)}")
    if idle := sorted(set_by_user(os.environ).keys() - variables.keys()):
        notice(f"left out, because they were not set there: {', '.join(idle)}")
    for line in different:
        notice(f"not equal: {line}")
    command += ["--out", str(out), "--force"]
    try:
        status = measured(["--resume", str(out)] if args.resume else command, code, variables)
    except KeyboardInterrupt:
        here = f"fcn bench replay {quote(str(args.file))} --resume {quote(str(out))}"
        raise KeyboardInterrupt(f"interrupted; go on with: {here}") from None
    if code != PROJECT:
        git("worktree", "remove", "--force", str(code))
    if (out / RESULTS).is_file():
        report(args.file, there, out)
    return status


def check_begun(out: Path, there: Bench) -> None:
    """Raise InputError unless ``out`` has a replay of this file."""
    begun, wanted = (of_the_file(each) for each in (read_document(out, Bench), there))
    if any(begun[name] != wanted[name] for name in begun.keys() & wanted.keys()):
        raise InputError(f"--resume {out}: has another benchmark's results, not a replay of FILE")


def of_the_file(document: Bench) -> dict[str, object]:
    """Return the settings that a replay has from its file, all but places of the machine."""
    settings = {**EARLY, **document["settings"]}
    return {name: value for name, value in settings.items() if name != "pythons"}


def code_of(commit: str | None, folder: Path) -> tuple[Path, list[str]]:
    """Return the folder of a commit's code, and why it is not that of the commit.

    Args:
        commit: As the file states it.
        folder: Where the commit is checked out, unless this checkout is at it.
    """
    wanted = (commit or "").removesuffix("-dirty")
    if not wanted:
        return PROJECT, ["the code: the file names no commit; this checkout's is measured"]
    changed = [f"the code: changes beyond commit {wanted} were measured, which are in no file"]
    lines = changed if wanted != commit else []
    if git_commit() == wanted:
        return PROJECT, lines
    if git("cat-file", "-e", f"{wanted}^{{commit}}"):
        return PROJECT, [
            f"the code: commit {wanted} is not in this checkout, whose own code is measured; "
            "`git fetch --unshallow` may bring it"
        ]
    if folder.exists():
        git("worktree", "remove", "--force", str(folder))
    if said := git("worktree", "add", "--detach", str(folder), wanted):
        raise InputError(f"{folder}: commit {wanted} cannot be checked out there ({said})")
    return folder, lines


def git(*arguments: str) -> str:
    """Return what git says where it fails, else nothing."""
    try:
        run = subprocess.run(
            ["git", *arguments], cwd=PROJECT, capture_output=True, text=True, check=False
        )
    except OSError as error:
        return str(error)
    return (run.stderr.strip().splitlines() or ["failed"])[-1] if run.returncode else ""


def unequal(there: Bench, interpreters: Collection[str]) -> list[str]:
    """Return in words what of machine and versions is not that of the file.

    Args:
        there: The file's content.
        interpreters: Backends with one of their own, of whose versions nothing is known here.
    """
    lines = []
    machine = hardware()
    if different := unlike(there["hardware"], machine):
        lines.append(f"the machine: {different}; times are not compared, ratios are")
    if there["settings"]["device"] != "cpu":
        lines += unlike_cards(there["gpu"], gpu_state())
    if there["hardware"]["python"] != machine["python"]:
        lines.append(f"Python: {there['hardware']['python']} there, {machine['python']} here")
    if paths := [name for name in there["settings"]["pythons"] if name not in interpreters]:
        lines.append(f"own interpreters of {', '.join(paths)}: name yours by --python")
    versions: dict[str, str] = {}
    for row in there["rows"]:
        for process in row["processes"][-1:] if row["backend"] not in interpreters else ():
            versions |= process["backend"]["versions"]
    # PyTorch's own word, such as 2.14.1+cu130, names a build that its package does not.
    others = {
        name: text
        for name, text in versions.items()
        if installed(name) not in (text, text.partition("+")[0])
    }
    if others:
        lines += [f"{name}: {text} there, {installed(name)} here" for name, text in others.items()]
        pins = " ".join(f"--with {name}=={text.partition('+')[0]}" for name, text in others.items())
        lines.append(f"versions are made equal, where the index has them, by: uv run {pins} fcn …")
    return lines


def installed(name: str) -> str:
    """Return the version of an installed package."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"


def unlike_cards(there: Gpu | None, here: Gpu | None) -> list[str]:
    """Return in words whether the GPU is another one, or has another driver."""
    names = [card["name"] if card else "none" for card in (there, here)]
    if names[0] != names[1]:
        return [f"the GPU: {names[0]} there, {names[1]} here"]
    drivers = [card.get("driver") if card else None for card in (there, here)]
    if drivers[0] != drivers[1]:
        return [
            f"the GPU's driver: {drivers[0] or 'unknown'} there, {drivers[1] or 'unknown'} here"
        ]
    return []


def stated(there: Bench, out: Path) -> list[str]:
    """Return the options of `fcn bench` that state a file's settings.

    A recipe of a file's own is written into ``out``.
    """
    if own := there["settings"].get("own_recipe"):
        write_text(out / RECIPE, to_toml(Recipe.from_json(own)))
    return options_of(there, str(out / RECIPE))


def options_of(there: Bench, recipe: str) -> list[str]:
    """Return the options of `fcn bench` that state a file's settings.

    An option that today's `fcn bench` no longer takes is not lost: it is given to the code of the
    file's commit.

    Args:
        there: The file's content.
        recipe: Where a recipe of its own stands.
    """
    options = with_tuples(there["settings"])
    if there["settings"].get("own_recipe"):
        options["recipe"] = recipe
    return arguments_of(Settings, options, QUICK if options["quick"] else None)


def variables_of(there: Bench) -> dict[str, str]:
    """Return the variables that the user of a file's benchmark had set, as its processes tell."""
    variables: dict[str, str] = {}
    for process in (process for row in there["rows"] for process in row["processes"]):
        variables |= set_by_user(process["environment"])
    return variables


def command_line(variables: Mapping[str, str], options: Sequence[str]) -> str:
    """Return a command as a shell takes it, with the variables that it is given."""
    set_before = [f"{name}={quote(text)}" for name, text in variables.items()]
    return " ".join([*set_before, join(["fcn", "bench", *options])])


def measured(command: Sequence[str], code: Path, variables: Mapping[str, str]) -> int:
    """Run `fcn bench` by the code in a folder, with the file's variables; return its status."""
    paths = [str(code), *filter(None, [os.environ.get("PYTHONPATH")])]
    others = set_by_user(os.environ)
    environment = {name: text for name, text in os.environ.items() if name not in others}
    environment |= {**variables, "PYTHONPATH": os.pathsep.join(paths)}
    arguments = ending_with_this([sys.executable, "-m", "benchmarks.cli", "bench", *command])
    with subprocess.Popen(arguments, cwd=code, env=environment, start_new_session=True) as process:
        try:
            return process.wait()
        except KeyboardInterrupt:
            process.send_signal(signal.SIGINT)  # It compares and writes what it has measured.
            process.wait()
            raise


def report(file: Path, there: Bench, out: Path) -> None:
    """Print which findings were found again and, of one machine, which rows changed."""
    here = read_document(out, Bench)
    print(found_again(there, here))
    if unlike(there["hardware"], here["hardware"]) is None:
        try:
            diff.main([str(file), str(out)])
        except InputError as error:
            print(f"no row's times are compared: {error}")
    print(f"next: `fcn report {quote(str(out))}` writes the page of what was measured here")


def found_again(there: Bench, here: Bench) -> str:
    """Return as text which comparisons of a file a replay of it has found again."""
    findings = repeated(there, here)
    rows = [text_table([HEADS, *map(cells, findings)])] if findings else []
    return "\n".join([*rows, verdict(findings)])


def cells(finding: Repeated) -> tuple[str, ...]:
    """Return the cells of one comparison."""
    a, b = (" ".join(finding[name].split("/")[:3]) for name in ("a", "b"))
    there, here = (ratio_text(finding[name]) for name in ("there", "here"))
    return f"{b} / {a}", there, here, finding["outcome"]


def verdict(findings: Sequence[Repeated]) -> str:
    """Return in one line how many findings were found again."""
    counts = Counter(finding["outcome"] for finding in findings)
    if not counts:
        return "No comparison of the file was measured again."
    parts = [f"{outcome} in {count}" for outcome, count in counts.items()]
    return f"Of {counted(len(findings), 'comparison')}: {', '.join(parts)}."
