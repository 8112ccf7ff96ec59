"""What `--vary` accepts: every field of a recipe that changes an experiment, and nothing else."""

import shutil
from dataclasses import Field, fields, replace
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from benchmarks.studies.typed import REFUSED, read_variations
from benchmarks.studies.variants import (
    Circumstances,
    check_effects,
    circumstances_of,
    effective,
    variants_of,
)
from common.classes import VOID
from common.config import Config
from common.data.masks import any_void
from common.errors import InputError
from common.parameters.initial import initial_parameters
from common.recipes import Recipe, make_recipe
from common.run.training import TrainingData

BASE = make_recipe("modern", batch_size=4, crop=(64, 64), epochs=2)
TEXTS = {bool: "true,false", int: "1,2", float: "0.25,0.5"}


def two_values(field: Field[Any]) -> str:
    """Return two values of a field as they are typed."""
    kind = get_type_hints(Recipe)[field.name]
    if choices := field.metadata.get("choices"):
        return ",".join(choices[:2])
    if get_origin(kind) is tuple:
        first, *rest = get_args(kind)
        numbers = ("64", "96") if first is int else ("0.5", "1.0")
        return ",".join(number if Ellipsis in rest else f"{number}x{number}" for number in numbers)
    return TEXTS[next(item for item in (*get_args(kind), kind) if item in TEXTS)]


def check(texts: list[str], base: Recipe = BASE, **circumstances: bool) -> list[Recipe]:
    """Return the recipes that ``--vary`` makes, if all is well with them."""
    variants = variants_of(base, read_variations(texts, base))
    check_effects(variants, [Circumstances(**circumstances)] * len(variants))
    return [variant.recipe for variant in variants]


def test_void_changes_nothing_where_no_label_map_has_any(generated: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(generated, data)
    config, whole = (
        Config(BASE),
        variants_of(BASE, read_variations(["void=ignore,background"], BASE)),
    )

    def check_void(recipe: Recipe, varied: tuple[str, ...] = ("void",)) -> None:
        own = [replace(config, recipe=replace(recipe, void=each.recipe.void)) for each in whole]
        variants = [v._replace(recipe=c.recipe) for v, c in zip(whole, own, strict=True)]
        check_effects(variants, [circumstances_of(each, data, None, varied) for each in own])

    without = r"--vary void: .* ignore and background: no label map of the data has a void pixel"
    label = data / "SegmentationClass"
    *_, last = sorted(label.glob("*.png"))
    for path in label.glob("*.png"):
        mask = Image.open(path)
        mask.point([value * (value != VOID) for value in range(256)]).save(path)
    with pytest.raises(InputError, match=without):
        check_void(BASE)
    # Images of 80x112: from 0.8 on all of them are at least as large as the crop of 64x64.
    for least in (0.8, 1.0):
        with pytest.raises(InputError, match=without):
            check_void(replace(BASE, random_scale=(least, 2.0)))
    check_void(replace(BASE, random_scale=(0.79, 2.0)))
    check_void(replace(BASE, random_scale=(0.8, 1.0), crop=(64, 96)))
    check_void(BASE, varied=("momentum",))  # Nothing is read where void is not varied.
    mask = Image.open(last)
    mask.putpixel((3, 4), VOID)
    any_void.cache_clear()
    mask.save(last)
    check_void(BASE)


@pytest.mark.parametrize("field", fields(Recipe), ids=lambda field: field.name)
def test_each_field_can_be_varied_or_is_refused_with_its_reason(field: Field[Any]) -> None:
    if field.name in REFUSED:
        with pytest.raises(InputError, match=f"--vary {field.name}: {REFUSED[field.name]}"):
            check([f"{field.name}=a,b"])
        return
    a, b = check([f"{field.name}={two_values(field)}"])
    assert replace(a, **{field.name: getattr(b, field.name)}) == b != a


def test_two_fields_make_a_grid_of_named_variants() -> None:
    texts = ["upsample-init=bilinear,xavier", "learning_rate=0.1, 1e-2"]
    variants = variants_of(BASE, read_variations(texts, BASE))
    assert [variant.name for variant in variants] == [
        "upsample_init=bilinear,learning_rate=0.1",
        "upsample_init=bilinear,learning_rate=1e-2",
        "upsample_init=xavier,learning_rate=0.1",
        "upsample_init=xavier,learning_rate=1e-2",
    ]
    assert [variant.recipe.learning_rate for variant in variants] == [0.1, 0.01] * 2
    (only,) = variants_of(BASE, {})
    assert only.recipe == BASE


@pytest.mark.parametrize(
    ("field", "names"),
    [
        ("upsample_init=bilinear,xavier", ["bilinear", "xavier"]),
        ("batch_size=8,16", ["batch_size=8", "batch_size=16"]),
        ("flip=true,false", ["flip=true", "flip=false"]),
        ("crop=64x64,96x96", ["crop=64x64", "crop=96x96"]),
    ],
)
def test_a_word_names_a_variant_and_a_number_needs_its_field(field: str, names: list[str]) -> None:
    assert [each.name for each in variants_of(BASE, read_variations([field], BASE))] == names


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (["upsample_innit=a,b"], "'upsample_innit' is unknown: did you mean upsample_init?"),
        (["=1,2"], "'' is unknown: choose from"),
        (["learning_rate=fast,slow"], "learning_rate=fast: expected a finite number"),
        (["weight_decay=0,inf"], "weight_decay=inf: expected a finite number"),
        (["batch_size=1.5,2"], "batch_size=1.5: expected a whole number"),
        (["flip=yes,no"], "flip=yes: expected true or false"),
        (["crop=64,96"], "crop=64: expected 2 numbers such as 96x96"),
        (["crop=64x64,96x90"], "--crop 96x90: both sides must be positive multiples of 32"),
        (["learning_rate=0.1,-1"], "--learning-rate -1.0: expected a finite number greater"),
        (["upsample_init=bilinear,xavir"], "'xavir' is unknown: did you mean xavier?"),
        (["batch_size=8,08"], "08 is 8 again"),
        (["learning_rate=0.1,1e-1"], "1e-1 is 0.1 again"),
        (["learning_rate=0.1"], "one value is nothing to compare"),
        (["learning_rate"], "--vary learning_rate: expected learning_rate=A,B, the values"),
        (["random_scale=1,2"], "random_scale=1: expected 2 numbers such as 0.5x2"),
        (["recipe=modern,"], "--vary recipe=modern,: '' is unknown: choose from"),
        (
            ["learning_rate=" + ",".join(["0.1", f"0.{'0' * 200}1"])],
            "would be the folder of a variant, of 217 bytes: at most 200",
        ),
        (["test_scales=1,1x1"], "--test-scales 1,1: 1 stands there twice"),
        (["epochs=1,2", "epochs=3,4"], "--vary epochs stands there twice"),
    ],
)
def test_values_that_cannot_be_are_refused_in_a_line(texts: list[str], words: str) -> None:
    with pytest.raises(InputError) as error:
        check(texts)
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("texts", "changes", "circumstances", "words"),
    [
        (["tile=64x64,96x96"], {"evaluation": "crops"}, {}, "an evaluation of crops has no tiles"),
        (
            ["evaluation=tiles,crops", "tile=64x64,96x96"],
            {},
            {},
            "--vary tile: changes nothing between evaluation=crops,tile=64x64 and",
        ),
        (["decay_scope=all,weights"], {"weight_decay": 0.0}, {}, "nothing decays"),
        (["loss_reduction=sum,mean"], {"batch_size": 1}, {}, "of one image the sum is the mean"),
        (["epochs=1,2"], {"schedule": "constant"}, {"steps": 7}, "both end at the same step"),
        (["warmup_steps=0,1"], {}, {}, "over one step nothing grows"),
        (["tile=64x64,96x96"], {}, {"sides": (64, 48)}, "every image has the same tiles"),
        (["tile=64x96,64x64"], {}, {"sides": (300, 33)}, "every image has the same tiles"),
        (["tile=32x64,96x64"], {}, {"sides": (32, 300)}, "every image has the same tiles"),
        (["test_scales=0.5x1,1x0.5"], {}, {}, "they are the same views"),
        (["momentum=0,0.9"], {}, {"steps": 1}, "over one step nothing is carried on"),
        (["schedule=constant,polynomial"], {}, {"steps": 1}, "one step has the whole step size"),
        (["epochs=1,2"], {}, {"steps": 1}, "both end at the same step"),
        (["init=torch,xavier"], {}, {"head_is_drawn": False}, "--weights has the values"),
        (["upsample_init=bilinear,xavier"], {}, {"head_is_drawn": False}, "--weights has the"),
    ],
)
def test_a_field_that_changes_nothing_is_refused_with_the_reason(
    texts: list[str], changes: dict[str, Any], circumstances: dict[str, Any], words: str
) -> None:
    with pytest.raises(InputError) as error:
        check(texts, replace(BASE, **changes), **circumstances)
    assert words in str(error.value)


def test_what_has_an_effect_in_the_same_circumstances_is_accepted() -> None:
    frozen = ["upsample_init=bilinear,bilinear-frozen"]
    assert len(check(frozen, head_is_drawn=False)) == 2
    assert len(check(["epochs=1,2"], steps=7)) == 2, "the schedule depends on the epochs"
    assert len(check(["epochs=1,2"], replace(BASE, schedule="constant"))) == 2
    assert len(check(["tile=64x64,96x96"], sides=(65, 48))) == 2
    assert len(check(["tile=64x64,64x96"], sides=(48, 65))) == 2
    assert len(check(["tile=96x64,64x96"], sides=(96, 64))) == 2
    assert len(check(["test_scales=0.5x1,0.5x2,1"])) == 3
    for field in ("momentum=0,0.9", "schedule=constant,polynomial"):
        assert len(check([field], steps=2)) == 2
    for field in ("warmup_steps=1,2", "weight_decay=0,0.1", "learning_rate=0.1,0.2"):
        assert len(check([field], steps=1)) == 2, "the first step has it"
    assert len(check(["warmup_steps=1,2"])) == 2
    assert effective(BASE, Circumstances())["tile"] == BASE.tile


def test_circumstances_are_those_of_the_weights_and_the_data(
    generated: Path, tmp_path: Path
) -> None:
    recipe = replace(BASE, evaluation="crops")
    config = Config(recipe)
    found = circumstances_of(config, generated, None)
    assert found.head_is_drawn and found.steps == TrainingData(generated, config).total_steps
    assert found.sides == max(TrainingData(generated, config).val.sizes)
    views = replace(BASE, test_scales=(0.5, 1.5, 1.0))
    assert circumstances_of(Config(views), generated, None).sides == (120, 168)
    assert circumstances_of(replace(config, max_steps=1), generated, None).steps == 1
    parameters = initial_parameters(recipe, 5)
    whole, backbone = tmp_path / "whole.safetensors", tmp_path / "backbone.safetensors"
    save_file(parameters, whole)
    save_file({k: v for k, v in parameters.items() if k.startswith("backbone.")}, backbone)
    assert not circumstances_of(config, None, whole).head_is_drawn
    assert circumstances_of(config, None, backbone).head_is_drawn


@pytest.mark.parametrize(
    ("field", "own"),
    [
        ("upsample_init=bilinear,xavier", {"transpose_conv.weight"}),
        ("upsample_init=bilinear,bilinear-frozen", set()),
        ("init=torch,xavier", {"final_conv.weight", "final_conv.bias", "transpose_conv.bias"}),
        ("learning_rate=0.1,0.2", set()),
    ],
)
def test_variants_start_from_the_same_parameters_but_for_their_own(
    field: str, own: set[str]
) -> None:
    a, b = (initial_parameters(recipe, seed=3) for recipe in check([field]))
    assert {name for name in a if not np.array_equal(a[name], b[name])} == own


@pytest.mark.parametrize("name", ["../../elsewhere", "a/b", "a\0b", "a\nb"])
def test_a_recipe_whose_name_cannot_be_that_of_a_folder_is_refused(name: str) -> None:
    named = {"modern": BASE, name: replace(BASE, name=name)}
    with pytest.raises(InputError, match="give the recipe another name"):
        variants_of(BASE, {"recipe": named})
