"""A search or a study on several hosts of a Ray cluster: a training on each at a time.

The command proposes, orders and stores; ``remote`` trains on a host.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.cluster.slots import Slot, Slots
from benchmarks.cluster.tasks import End, Task, run_tasks
from benchmarks.records.training_documents import AccuracyRow
from benchmarks.records.tuning_documents import TrialRecord
from benchmarks.studies.search import Attempt, Budget, check_failures
from benchmarks.studies.trainings import (
    Plan,
    Training,
    new_row,
    remaining,
    stored_part,
    trainings_of,
    words_of,
)
from benchmarks.studies.trials import STORAGE, Search, records, trials_stored
from benchmarks.workers.scripts import Outcome
from benchmarks.workers.supervision import how_ended
from common.errors import InputError

if TYPE_CHECKING:
    from optuna import Study

MODULE = "benchmarks.studies.remote"
Need = tuple[str, str, str]
"""What a training goes on from: `trace` or `proof`, of a variant, and of a seed or a backend."""


def search_together(
    search: Search, study: Study, budget: Budget, slots: Slots
) -> list[TrialRecord]:
    """Train trials, as many at once as there are hosts, until the budget is spent; return all.

    The trial of a host that is lost is tried again, with the same values and another number.

    Raises:
        InputError: If several trials in a row fail, or all hosts are lost.
    """
    attempts: dict[str, Attempt] = {}
    outcomes: dict[str, Outcome] = {}
    pruned: set[str] = set()

    def next_task(slot: Slot) -> Task | None:
        if not budget.is_left(records(study), len(attempts)):
            return None
        attempt = Attempt(search, study)
        name = attempt.heading
        attempts[name] = attempt

        def told(line: dict[str, Any]) -> bool:
            if "hardware" in line:
                attempt.host = {"name": slot.name, "hardware": line["hardware"]}
            if attempt.host is not None and line.get("device"):
                attempt.host["device"] = line["device"]
            if "outcome" in line:
                outcomes[name] = Outcome(*line["outcome"])
            if name not in pruned and attempt.report(line.get("scores", [])):
                pruned.add(name)
                return True
            return False

        request = {
            "backend": search.backend,
            "config": attempt.config.to_json(),
            "folder": str(attempt.folder.absolute()),
            "heading": name,
            **fixed(search),
        }
        return Task(name.partition(":")[0], MODULE, request, told)

    def ended(task: Task, end: End) -> None:
        name = task.request["heading"]
        attempt = attempts.pop(name)
        if name in pruned:
            attempt.prune()
        elif end.status is None:
            attempt.lose()
        else:
            attempt.end(outcome_of(end, outcomes.get(name)))
        check_failures(search, records(study))

    with trials_stored(search.folder / STORAGE):
        run_tasks(slots, next_task, ended)
        return records(study)


def fixed(common: Search | Plan) -> dict[str, Any]:
    """Return the part of a request that is the same for all trainings of a search or a study."""
    weights = common.weights
    return {
        "data": str(common.data.absolute()),
        "weights": str(weights) if weights else None,
        "silence": common.silence,
        "verbose": common.verbose,
    }


def outcome_of(end: End, told: Outcome | None) -> Outcome:
    """Return how a training ended, where the host's own process may have failed.

    Raises:
        InputError: If that says so.
    """
    if end.status == 2:
        raise InputError(f"{end.message} (on host {end.host})")
    if told is not None:
        return told
    status = end.status or 0
    return Outcome("failed", how_ended(status) if status < 0 else end.message)


def train_together(plan: Plan, slots: Slots) -> dict[str, list[AccuracyRow]]:
    """Train all of a plan on several hosts; return by variant a row for each backend.

    What ``trainings.train_all`` says holds here too, but several trainings run at once, so that a
    host that is slower than others slows only its own. Two hosts never make the same trace or ask
    the same backend for the same evaluation.

    Raises:
        InputError: If what is stored of a training was changed, the data cannot be read, or all
            hosts are lost.
    """
    work = Work(plan, len(slots.all))
    run_tasks(slots, work.next_task, work.ended)
    return work.rows


class Work:
    """The trainings of a study that several hosts do.

    Attributes:
        rows: By variant, what is done; whole once all has ended.
    """

    def __init__(self, plan: Plan, hosts: int) -> None:
        self.plan, self.hosts = plan, hosts
        self.rows = {variant: [new_row(name) for name in plan.backends] for variant in plan.configs}
        self._trainings = list(trainings_of(plan, self.rows))
        self._seconds: dict[str, list[float]] = {name: [] for name in plan.backends}
        self._waiting = list[int]()
        self._answers = dict[int, dict[str, Any]]()
        self._made, self._making = set[Need](), dict[int, set[Need]]()
        for number, training in enumerate(self._trainings):
            stored = stored_part(training)
            if stored is None:
                self._waiting.append(number)
            else:
                self._keep(training, stored)

    def _keep(self, training: Training, stored: dict[str, Any]) -> None:
        row = training.row
        row["runs"] = sorted([*row["runs"], stored["run"]], key=lambda run: run["seed"])
        self._seconds[row["backend"]].append(stored["seconds"])

    def next_task(self, slot: Slot) -> Task | None:
        """Return the first training for which no other host is making what it needs."""
        making = set().union(*self._making.values())
        for number in self._waiting:
            training = self._trainings[number]
            needs = {("trace", training.variant, str(training.config.seed))}
            needs |= {("proof", training.variant, training.row["backend"])}
            if training.row["status"] == "ok" and not needs & making:
                self._waiting.remove(number)
                self._making[number] = needs - self._made
                return self._task(number, slot)
        return None

    def _task(self, number: int, slot: Slot) -> Task:
        plan, training = self.plan, self._trainings[number]
        making = self._making[number]

        def told(line: dict[str, Any]) -> bool:
            done = {need for need in making if need[0] == line.get("has")}
            making.difference_update(done)
            self._made.update(done)
            if "status" in line:
                self._answers[number] = line
            return False

        rows = [self._trainings[each].row for each in (*self._making, *self._waiting)]
        left = remaining(rows, self._seconds, self.hosts)
        words = words_of(training)
        request = {
            "number": number,
            "variant": training.variant,
            "backend": training.row["backend"],
            "config": training.config.to_json(),
            "out": str(plan.out.absolute()),
            "identity": training.progress.identity,
            "proven": not any(kind == "proof" for kind, *_ in making),
            "host": slot.name,
            "heading": f"[{number + 1}/{len(self._trainings)}] {words}{left}",
            **fixed(plan),
        }
        return Task(words, MODULE, request, told)

    def ended(self, task: Task, end: End) -> None:
        """Note how a training ended; that of a lost host waits to be done again."""
        number = task.request["number"]
        training = self._trainings[number]
        row, answer = training.row, self._answers.pop(number, None)
        del self._making[number]
        if end.status is None:
            self._waiting = sorted([*self._waiting, number])
        elif answer is None:
            outcome = outcome_of(end, None)
            row["status"], row["reason"] = outcome.status, outcome.reason
        elif answer["stored"] is None:
            row["status"], row["reason"] = answer["status"], answer["reason"]
        else:
            self._keep(training, answer["stored"])
