"""A study's results as one page that needs no other file and no network."""

from pathlib import Path

from benchmarks.pages.facts import study_facts
from benchmarks.pages.gallery import study_gallery
from benchmarks.pages.html import render
from benchmarks.pages.studies import accuracy, curves, varied, words
from benchmarks.pages.studies.hosts import host_facts
from benchmarks.records.check import problems_of_study
from benchmarks.records.equivalence import LEVEL, TARGET_ABOVE_BACKGROUND
from benchmarks.records.training_documents import Study


def render_page(study: Study, folder: Path) -> str:
    """Return the page of a study: HTML that needs no other file and no network.

    Args:
        study: What ``fcn study`` wrote as ``study.json``.
        folder: Where the pictures that it names lie.

    Raises:
        InputError: For a picture of the gallery that is missing or no label map.
    """
    return render(
        study,
        verdict=words.verdict(study).replace("`", ""),
        problems=list(problems_of_study(study)),
        words=words,
        varied=varied,
        trainings=accuracy,
        curves=curves,
        gallery=study_gallery(study, folder),
        facts=study_facts(study) | host_facts(study),
        level=LEVEL,
        target=TARGET_ABOVE_BACKGROUND,
    )
