"""What surrounds the training loop: the data before it, the run folder after it."""

import sys
import tempfile
from argparse import Namespace
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from numpy.typing import NDArray

from common.config import Config, for_training
from common.data.batches import Batch, loader_for, plan_epoch
from common.data.check import survey
from common.data.dataset import open_dataset, own_recipe
from common.documents import BackendRecord, DatasetRecord, Manifest, WeightsRecord
from common.errors import InputError, is_first_process, notice
from common.machine.group import group_of
from common.machine.locks import only_writer
from common.machine.progress import tracked
from common.machine.provenance import git_commit, hardware, recorded_environment
from common.parameters.files import describe_weights, starting_parameters
from common.parameters.names import check_variance
from common.recipes import STRIDE
from common.run.checkpoints import Checkpoint, check_goes_on, load_checkpoint, momentum_for
from common.run.folders import becomes_new, is_finished, start_folder, unfinish
from common.run.interrupts import configure
from common.run.log import LOG, Line, complete_by, lines_until
from common.run.resume import backend_and_weights
from common.run.runs import Run

Beginning = tuple[Checkpoint, WeightsRecord | None, list[Line]]
NO_DATA = "--data is missing: name a VOC folder (`fcn data make DIR` makes one)"
EXAMPLES = 6
"""Validation images whose predictions a run draws."""


def check_batch(config: Config) -> None:
    """Raise InputError if the last maps of a device's batch have too few values for batch norm."""
    height, width = (side // STRIDE for side in config.recipe.crop)
    check_variance(config.recipe.batch_size // config.replicas * height * width)


class TrainingData:
    """Training and validation data of one training, in the order that its batch plan states."""

    def __init__(self, root: Path, config: Config, shows_progress: bool = False) -> None:
        recipe = config.recipe
        self.config, self._shows = config, shows_progress
        check_batch(config)
        reading = config.max_pixels, recipe.classes
        # A scaled image that is smaller than the crop is padded, so none is left out.
        least = None if recipe.scales_images else recipe.crop
        self.train = open_dataset(root, "train", least, *reading)
        whole = recipe.evaluation == "tiles"
        self.val = open_dataset(root, "val", None if whole else recipe.crop, *reading)
        # The plan is of whole batches, whoever computes which part of them.
        part = group_of(config).rank, config.workers
        self._loader = loader_for(self.train, config, part=part)
        self.steps_per_epoch = self._plan(0).batches_per_epoch
        if not whole:
            # Refuses a batch that is larger than the validation set now, not after an epoch.
            self._validation = plan_epoch(self.val, recipe, config.seed, 0, training=False)
        # Both loaders share the bound of --cache-mib: the training images come first.
        self._val_loader = loader_for(self.val, config, beside=self.train.decoded_bytes)
        self.total_steps = recipe.epochs * self.steps_per_epoch
        if config.max_steps is not None:
            self.total_steps = min(self.total_steps, config.max_steps)

    def _plan(self, epoch: int) -> Any:
        return plan_epoch(self.train, self.config.recipe, self.config.seed, epoch, training=True)

    def epochs(self, first_step: int = 0) -> Iterator[int]:
        """Yield the epochs that still have steps to do after ``first_step`` steps."""
        end = -(-self.total_steps // self.steps_per_epoch)
        done = first_step >= self.total_steps
        return iter(range(end if done else first_step // self.steps_per_epoch, end))

    def steps_after(self, epoch: int) -> int:
        """Return how many steps are done when ``epoch`` ends."""
        return min((epoch + 1) * self.steps_per_epoch, self.total_steps)

    def training(self, epoch: int, first_step: int = 0) -> Iterator[Batch]:
        """Yield an epoch's batches, those before ``first_step`` left out."""
        start = epoch * self.steps_per_epoch
        skip, stop = max(0, first_step - start), self.steps_after(epoch) - start
        return self._loader.epoch(self._plan(epoch), start, skip, stop)

    def validation(self) -> Iterator[Batch]:
        """Yield whole batches of one crop of each validation image, the same in every epoch."""
        total = self._validation.batches_per_epoch
        return self._shown(self._val_loader.epoch(self._validation, 0), total, "batch")

    def validation_images(self) -> Iterator[tuple[NDArray, NDArray]]:
        """Yield every validation image, uint8 [H, W, 3], and its label map, uint8 [H, W]."""
        return self._shown(self._val_loader.whole_images(), len(self.val.names), "image")

    def _shown(self, items: Iterator[Any], total: int, unit: str) -> Iterator[Any]:
        return tracked(items, total, unit, "evaluation", hidden=not self._shows, delay=5)

    def examples(self) -> Iterator[tuple[NDArray, tuple[str, NDArray]]]:
        """Yield the top-left crop of the first validation images, with name and label map.

        Source:
            Dive into Deep Learning, "Fully Convolutional Networks: Prediction".
        """
        height, width = self.config.recipe.crop
        for index in range(min(EXAMPLES, len(self.val.names))):
            image, label = self.val.read(index)
            yield image[:height, :width], (self.val.names[index], label[:height, :width])

    def warn(self) -> None:
        """Say on standard error what is odd about the data set as a whole.

        Raises:
            InputError: Naming the first label map that cannot be read, with the likely cause.
        """
        if is_first_process():
            for sign in survey(self.train, self.val):
                notice(f"warning: {self.train.root}: {sign}")

    def describe(self) -> DatasetRecord:
        """Return the data set's identity and sizes, for a run's manifest."""
        return {
            "root": self.train.root.name,
            "digest": self.train.digest,
            "train_images": len(self.train.names),
            "train_dropped": self.train.dropped,
            "val_digest": self.val.digest,
            "val_images": len(self.val.names),
            "val_dropped": self.val.dropped,
            "steps_per_epoch": self.steps_per_epoch,
        }


def choose_recipe(args: Namespace) -> str | None:
    """Set the recipe to the data set's own, unless the options name one.

    Returns:
        What is to be said of it, if it was set.

    Raises:
        InputError: If the data set's file of it is damaged.
    """
    if args.recipe is not None or args.data is None:
        return None
    args.recipe = own_recipe(args.data)
    if args.recipe is None:
        return None
    return f"{args.data} was made for {args.recipe.in_words}: taken, as no --recipe is named"


@contextmanager
def start_training(
    args: Namespace, config: Config, backend: ModuleType, chosen: str | None
) -> Iterator[tuple[Config, TrainingData, Run, Checkpoint]]:
    """Check every input, then open the data and the run folder and say where to start.

    Args:
        args: What ``common.options.training_parser`` parsed.
        config: The training, from the same arguments. It is recorded, for a resume may be longer;
            what is yielded is that of the steps: ``common.config.for_training``.
        backend: The backend's package.
        chosen: What to say of the recipe, if anything, once every input is checked.

    Raises:
        InputError: Before anything is written.
    """
    if args.data is None:
        raise InputError(NO_DATA)
    if args.checkpoint_every is not None and args.checkpoint_every < 1:
        raise InputError(f"--checkpoint-every {args.checkpoint_every} is too small: at least 1")
    data = TrainingData(args.data, config, is_first_process() and not args.no_progress)
    with ExitStack() as stack:
        if not is_first_process():  # All processes do the same work, and the first one records it.
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            args.out, args.no_progress = Path(folder), True
        if (out := args.out or args.resume) is None:
            raise InputError("--out is missing: name the folder of the new run")
        is_new = becomes_new(out, args.resume, args.force)
        # Loading the framework takes seconds: wrong files are told before. The lock is given up
        # meanwhile, as PyTorch may start the processes that train here.
        with nullcontext() if is_new else only_writer(out):
            start, weights, lines = _begin(args, config, data, is_new)
        configure(backend, config)
        if not is_new:
            stack.enter_context(only_writer(out))
            start, weights, lines = _begin(args, config, data, is_new)
        notice(chosen)
        data.warn()
        described, steps = backend.describe(config), data.total_steps - start.step
        effective = for_training(config, described["name"], described["device"], steps)
        manifest = _manifest(described | backend.switches(effective), data, weights, start.step)
        if is_new:
            stack.enter_context(only_writer(out))
            start_folder(out, args.force)
        elif start.step < data.total_steps:
            unfinish(out)
        run = Run(
            out,
            config,
            manifest,
            first_step=start.step,
            total_steps=data.total_steps,
            steps_per_epoch=data.steps_per_epoch,
            data=args.data,
            lines=lines,
            checkpoint_every=args.checkpoint_every,
            progress=not args.no_progress,
        )
        stack.callback(run.close)
        with run.saying_the_way_on():
            yield effective, data, run, start


def _manifest(
    backend: BackendRecord, data: TrainingData, weights: WeightsRecord | None, step: int
) -> Manifest:
    return {
        "backend": backend,
        "environment": recorded_environment(),
        "hardware": hardware(),
        "commit": git_commit(),
        "dataset": data.describe(),
        "classes": data.config.recipe.classes.to_json(),
        "weights": weights,
        "resumed_from_step": step or None,
    }


def _begin(args: Namespace, config: Config, data: TrainingData, is_new: bool) -> Beginning:
    """Return where a training starts, where its first weights came from, and its log until then."""
    start, weights = _start_of(args, config, data)
    lines = [] if args.resume is None else _log_until(start, args.resume, data, config, is_new)
    return start, weights, complete_by(lines, start.step, data.steps_per_epoch, data.total_steps)


def _start_of(
    args: Namespace, config: Config, data: TrainingData
) -> tuple[Checkpoint, WeightsRecord | None]:
    """Return where a training starts, and the file that its first weights came from.

    Raises:
        InputError: If the checkpoint of ``args.resume`` is of another training, or all its steps
            are done.
    """
    if args.resume is None:
        parameters = starting_parameters(config.recipe, config.seed, args.weights, notice)
        start = Checkpoint(parameters, {}, 0, config, data.train.digest)
        return start, describe_weights(config.recipe, args.weights)
    if args.weights is not None:
        raise InputError("--weights: the checkpoint of --resume has weights: leave one of them out")
    checkpoint, (_, weights) = load_checkpoint(args.resume), backend_and_weights(args.resume)
    check_goes_on(args.resume, checkpoint, config, data.train.digest, args.resume_changed)
    steps = checkpoint.step
    if steps > data.total_steps or (steps == data.total_steps and is_finished(args.resume)):
        raise InputError(
            f"--resume {args.resume}: all its {steps} steps are done; "
            "raise --max-steps, or --epochs with --resume-changed"
        )
    return replace(checkpoint, momentum=momentum_for(checkpoint, config.recipe)), weights


def _log_until(
    start: Checkpoint, resume: Path, data: TrainingData, config: Config, is_new: bool
) -> list[Line]:
    """Return the lines of the resumed run's log that belong to its checkpoint.

    Raises:
        InputError: If they do not belong together, or the run is not to become a new one although
            its epochs get another number of steps.
    """
    if (resume / "state.json").is_file():
        if start.step % data.steps_per_epoch:
            print(
                f"{resume}: is a checkpoint without the log of its run: the mean loss of its "
                "epoch will be that of the remaining steps",
                file=sys.stderr,
            )
        return []
    # An early checkpoint does not say of how many steps its epochs were.
    earlier, now = (start.config.recipe.batch_size, start.dataset), data.steps_per_epoch
    same = earlier == (config.recipe.batch_size, data.train.digest)
    before = start.log.steps_per_epoch if start.log else now * same
    lines = lines_until(resume / LOG, start.log, start.step, before)
    if before != now and not is_new:
        # Epochs that are no longer whole would leave the log, which the checkpoint is tied to.
        had = f"had {before}" if before else "may have had another number of"
        raise InputError(
            f"--resume {resume}: an epoch {had} steps, and now it has {now}: name a new folder, "
            "--out NEW, and the run stays as it is"
        )
    return lines
