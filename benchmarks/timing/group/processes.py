"""The processes of a group's rows: each is proved, timed in turns, and asked once more."""

import secrets
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from benchmarks.cases import CASES
from benchmarks.records.documents import Row
from benchmarks.records.figures import summarize
from benchmarks.records.results import Results
from benchmarks.timing.group.starts import take_starts
from benchmarks.timing.machine import watched
from benchmarks.timing.members import (
    Member,
    calibrate,
    end,
    ending_on_failure,
    running,
    say,
    start_worker,
)
from benchmarks.timing.proof.closing import close, turns_pass
from benchmarks.timing.proof.opening import Question, make_question, prove
from common.config import Config
from common.errors import InputError
from common.machine.progress import counter, waiting_shown


def run_group(
    results: Results,
    rows: list[Row],
    config: Config,
    folder: Path,
    plants: Mapping[str, str],
    closes: bool = True,
) -> None:
    """Prove and time the rows of one group, in several processes each, one after another.

    What a process has by chance, such as where its memory lies, all its turns share. Only other
    processes tell how much that is.

    Args:
        results: The document that gets what is measured.
        rows: All that are measured side by side.
        config: Of all rows, without the changes of their tracks.
        folder: Gets the group's arrays.
        plants: Key of a row -> the fault that the self-test plants in its backend.
        closes: Whether processes of each row are asked the closing questions that need more steps:
            at least one. The turns of all are judged anyway.
    """
    begun, processes = forget_unfinished(rows), results.document["settings"]["processes"]
    # By lot, so that no process can know whether its steps will be asked about.
    asked = begun + secrets.randbelow(max(1, processes - begun))
    question = None
    for number in range(begun, processes):
        with ExitStack() as stack:
            members = []
            if not CASES[rows[0]["case"]].in_new_processes:
                # They import their frameworks while the reference is computed.
                members = start(results, running(rows), config, stack, plants)
            left = running(rows)
            if left and question is None:
                with ending_on_failure(left):
                    question = make_question(left[0], config, folder)
            if not left or question is None:
                break
            if CASES[rows[0]["case"]].in_new_processes:
                take_starts(results, left, question, number)
            else:
                take_process(members, question, number, closes and number == asked)
                if number == asked:  # Later ones may know of that, so another one may be asked.
                    asked += 1 + secrets.randbelow(processes - number)
    for row in running(rows):
        end(row, "ok", None)
        summarize(results.document, row)
    results.save()


def forget_unfinished(rows: list[Row]) -> int:
    """Forget what an interruption has left of processes; return how many each row has finished.

    All turns of a process are side by side with those of the other rows, so they are measured anew
    together.
    """
    finished = min(map(finished_processes, rows))
    for row in rows:
        row["processes"] = row["processes"][:finished]
        row["samples"] = [sample for sample in row["samples"] if sample["process"] < finished]
    return finished


def finished_processes(row: Row) -> int:
    """Return how many processes of a row have been timed, and then asked what they used."""
    timed = {sample["process"] for sample in row["samples"]}
    ended = ["host_memory_peak_bytes" in process for process in row["processes"]]
    return sum(number in timed for number, has_ended in enumerate(ended) if has_ended)


def take_process(members: list[Member], question: Question, number: int, closes: bool) -> None:
    """Prove and time the process of each member, the row's with this number.

    Args:
        members: Those that are measured side by side.
        question: What they are asked first.
        number: Of the process in its row.
        closes: Whether the closing questions are asked.
    """
    with waiting_shown("  set-up"):
        for member in members:  # No row is measured while a worker still imports its framework.
            with member.measured(refused="unsupported"):
                member.ask("turns.ready")
        for member in working(members):
            say(f"  {member.row['backend']} {member.row['track']}: sets up process {number + 1}")
            with member.measured(refused="unsupported"):
                if prove(member, question):
                    calibrate(member, member.settings["seconds"], member.settings["least_steps"])
    take_turns(members, number)
    for member in working(members):
        finish(member, question if closes else None)


def working(members: list[Member]) -> list[Member]:
    """Return the members whose row has not ended."""
    return [member for member in members if member.row["status"] == "running"]


def start(
    results: Results, rows: list[Row], config: Config, stack: ExitStack, plants: Mapping[str, str]
) -> list[Member]:
    """Start the rows' workers; a row whose worker cannot be started ends here."""
    members = []
    for row in rows:
        backend, key = row["backend"], row["key"]
        with ending_on_failure([row]):
            if config.devices > 1 and backend == "torch":
                raise InputError(
                    "PyTorch needs a process for each device; a row is timed in one at a time"
                )
            worker = start_worker(results, backend, key, config.threads, track=row["track"])
            own = stack.enter_context(worker), config.threads, plants.get(key)
            members.append(Member(results, row, *own))
    return members


def take_turns(members: list[Member], process: int) -> None:
    """Time the members in interleaved rounds, in an order drawn from the seed.

    In each round every worker has two turns, the second in reverse order. So a drift of the machine
    cancels, and a worker's first turn is compared with its second as A against A.
    """
    members = working(members)
    if not members:
        return
    rounds, seed = members[0].settings["rounds"], members[0].settings["seed"]
    generator = np.random.default_rng((seed, 11, process))
    shuffled = np.arange(len(members))
    with counter(rounds * 2 * len(members), "turn", "  timed") as bar:
        for number, turn in np.ndindex(rounds, 2):
            shuffled = generator.permutation(len(members)) if turn == 0 else shuffled[::-1]
            for position, index in enumerate(shuffled):
                if members[index].row["status"] == "running":
                    place = {"process": process, "round": number, "turn": turn}
                    left = 2 * (rounds - number) - turn
                    take_turn(members[index], {**place, "position": position}, left)
                bar.update()


def take_turn(member: Member, place: Mapping[str, int], left: int) -> None:
    """Time one turn of one member, which has ``left`` to go; the parent sleeps meanwhile."""
    with member.measured():
        member.begin(left)
        sample = watched(member.results.document, member.row, member.turn)
        member.row["samples"].append(sample | place)


def finish(member: Member, question: Question | None) -> None:
    """Record the memory's peaks of a process, and a trace with ``--profile``; end its worker.

    Before, its turns are judged. It is asked the closing questions too where ``question``, what it
    was asked first, is given.
    """
    row, results = member.row, member.results
    with member.measured():
        used = member.ask("turns.used", steps=member.steps)
        if member.settings["profile"] and row["profile"] is None:
            # After the turns, because tracing changes times and memory.
            folder = results.folder / "profiles" / row["key"].replace("/", "-")
            # A worker has another working directory.
            member.ask("turns.profile", folder=str(folder.absolute()), steps=2)
            row["profile"] = str(folder.relative_to(results.folder))
        if turns_pass(member) and (question is None or close(member, question)):
            row["processes"][-1] |= used  # Only a process that was asked all has them.
