"""The case `accuracy` of `fcn bench`: a study that varies nothing but the backend and the seed."""

from benchmarks.records.equivalence import LEVEL, MARGINS, equivalences
from benchmarks.records.results import Results
from benchmarks.studies.runs import copy_predictions, write_examples
from benchmarks.studies.trainings import Plan, train_all
from common.config import Config
from common.data.synthetic import default_dataset
from common.run.training import TrainingData


def measure_accuracy(results: Results, config: Config) -> None:
    """Train every backend from as many seeds as a row has processes, on a generated data set.

    Args:
        results: Get the case's part of the document.
        config: Of the first seed.
    """
    folder, settings = results.folder, results.document["settings"]
    data = default_dataset(folder / "data")
    plan = Plan(
        {"": config},
        settings["backends"],
        settings["processes"],
        data,
        folder / "accuracy",
        pythons=settings["pythons"],
        silence=settings["timeout"],
    )
    rows = train_all(plan)[""]
    gallery = write_examples(folder, TrainingData(data, config))
    for row in rows:
        if row["status"] == "ok":  # The first seed is one that every finished backend has.
            run = plan.out / row["backend"] / f"seed-{config.seed}"
            copy_predictions(folder, gallery, row["backend"], run / "predictions")
    results.document["accuracy"] = {
        "config": config.to_json(),
        "seeds": settings["processes"],
        "margins": MARGINS,
        "level": LEVEL,
        "rows": rows,
        "equivalence": equivalences(rows, config.recipe.void),
        "gallery": gallery,
    }
    results.save()
