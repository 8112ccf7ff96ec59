"""The four packages have the same files, and in each the same definitions in the same order."""

import ast
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import pytest

import common
from common.backends import BACKENDS, CONTRACT

PROJECT = Path(common.__file__).parents[1]

ONLY = {
    "foreign.py": {"torch"},  # Only PyTorch reads its own weight files.
    "compat.py": {"mxnet"},  # It gives NumPy's removed names back.
}
"""File -> the packages that have it, where not all four do."""

CALL = {"forward": "call", "hybrid_forward": "call", "__call__": "call"}
"""How PyTorch, Gluon and Flax name the method that applies a layer -> how Keras does."""
HANDED_ON = {"jax": {"rngs"}, "tf": {"dtype"}}
"""Parameters that reach every layer of a framework: the source of randomness, the precision."""
OF_METHODS = {"mxnet": {"F"}, "tf": {"training", "options"}}
"""Parameters that the framework gives a layer's methods: its operations; the mode, a name."""


class Exempt(NamedTuple):
    """Packages that have what others lack, lack what others have, or take other parameters.

    What several of them have is the same in these.
    """

    packages: str
    file: str
    names: str
    reason: str


EXCEPTIONS = (
    Exempt("torch", "device.py", "compiles", "only PyTorch computes without compiling too"),
    Exempt("torch jax", "device.py", "keep_compiled", "only these keep programs for later"),
    Exempt("torch", "device.py", "devices_of", "its replicas are processes of one device each"),
    Exempt(
        *("jax", "device.py", "mesh_of of_group of_process"),
        "an array of all processes is another one than that of a process",
    ),
    Exempt("torch", "group.py", "start_ranks run_ranks", "its devices are processes too"),
    Exempt("tf", "group.py", "group_strategy", "a strategy adds the processes' arrays"),
    Exempt("tf", "group.py", "group_reduce", "its reduction is a graph that is kept"),
    Exempt(
        "mxnet",
        "group.py",
        "BUFFERS group_store add_over_group",
        "a store adds the processes' arrays",
    ),
    Exempt("jax", "device.py", "sharding_of", "a JAX array has to be told where it lies"),
    Exempt("mxnet", "device.py", "multiplies_bfloat16", "MXNet has bfloat16 on some CPUs only"),
    Exempt("mxnet tf", "device.py", "threads_in_use", "others can be asked in one line"),
    Exempt("jax", "device.py", "REPLICA DETERMINISTIC EIGEN MATMUL", "XLA is set by such names"),
    Exempt("mxnet", "loss.py", "Loss", "Gluon compiles blocks"),
    Exempt("mxnet", "loss.py", "scalar", "`float` refuses one of MXNet's two kinds of array"),
    Exempt("jax", "measure.py", "layer_operation", "JAX takes the gradients of a function"),
    Exempt("mxnet", "measure.py", "COMPUTE", "Gluon has no types of bfloat16 and float64"),
    Exempt("mxnet", "model.py", "Tensor", "a block is called with arrays and with symbols"),
    Exempt("mxnet", "model.py", "Upsample.bfloat16", "Gluon has no automatic bfloat16"),
    Exempt("mxnet", "model.py", "Convolution", "Gluon has no automatic bfloat16"),
    Exempt("mxnet", "model.py", "ReLU", "Gluon's own is slower"),
    Exempt("mxnet", "model.py", "Normalize", "Gluon has this layer"),
    Exempt("mxnet", "model.py", "transposed_convolution", "its symbols have no shape to ask"),
    Exempt("mxnet", "model.py", "Upsample.call", "Gluon hands a block its parameters"),
    Exempt("mxnet", "model.py", "FCN.named_parameters", "Gluon's names count through a process"),
    Exempt("jax", "model.py", "MaxPool", "Flax's own has a slow gradient"),
    Exempt("jax", "model.py", "BatchNorm", "Flax's has a biased variance"),
    Exempt("tf", "model.py", "BatchNorm", "Keras' has a biased variance"),
    Exempt(
        "tf", "model.py", "convolution batch_norm", "Keras' layers are applied as they are made"
    ),
    Exempt("tf", "model.py", "BlockV1 BlockV2 ResNet18 FCN.call", "Keras' functional model"),
    Exempt("tf", "model.py", "block_v1 block_v2 resnet18", "Keras' functional model"),
    Exempt("tf", "model.py", "Sum", "Keras has this layer"),
    Exempt("tf", "model.py", "Upsample.build", "Keras makes variables when it sees an input"),
    Exempt("tf", "model.py", "Normalize.compute_output_spec", "Keras has to be told the precision"),
    Exempt("torch", "model.py", "FCN.__init__", "PyTorch has two layouts of one shape in memory"),
    Exempt(
        "torch", "model.py", "Normalize.__init__", "PyTorch's modules hold constants as buffers"
    ),
    Exempt("torch mxnet", "probe.py", "_copy", "their layers are watched by hooks, which stay"),
    Exempt("mxnet", "probe.py", "HEAD", "its backbone and its head differ in layout"),
    Exempt("mxnet", "probe.py", "_layer", "Gluon finds no layer by its name"),
    Exempt("jax", "probe.py", "_captured", "Flax captures outputs within a compiled function"),
    Exempt("tf", "probe.py", "_statistics_kept", "a Keras model cannot be copied"),
    Exempt("torch", "state.py", "State.replica", "DistributedDataParallel wraps the network"),
    Exempt("mxnet", "state.py", "State.loss", "Gluon compiles a block for the loss"),
    Exempt("mxnet", "state.py", "State.trainer State.optimizer", "a Trainer has the optimizer"),
    Exempt(
        *("jax", "state.py", "State.model State.network State.parameters State.rest"),
        "the state is a tree of arrays beside the network's definition",
    ),
    Exempt("tf", "state.py", "State.strategy", "a strategy keeps the replicas"),
    Exempt("mxnet", "state.py", "SGD", "Gluon's has the learning rate inside the buffer"),
    Exempt("tf", "state.py", "SGD", "Keras' has the learning rate inside the buffer"),
    Exempt("jax tf", "step.py", "LossAndGradients", "in others the parameters hold the gradients"),
    Exempt("jax", "step.py", "create_optimizer", "optax's optimizers hold no parameters"),
    Exempt("jax", "step.py", "no_transfers", "only JAX can forbid what is copied unseen"),
    Exempt("jax", "step.py", "trained", "Flax splits a network's variables by a filter"),
    Exempt("torch", "step.py", "training_loss compiled_loss", "what PyTorch may compile of a step"),
    Exempt("mxnet", "step.py", "variances unbiased_variances", "its backward pass moves them"),
    Exempt("jax tf", "step.py", "_train_step", "what is compiled takes the rate as an array"),
    Exempt("tf", "measure.py", "_backward_step", "what is compiled returns no state"),
    Exempt("jax", "weights.py", "path_name canonical_name canonical_parameters", "Flax has paths"),
    Exempt("jax tf", "weights.py", "PARTS", "these have names of their own for variables"),
    Exempt("jax", "weights.py", "_filled", "JAX's arrays cannot be written to"),
    Exempt("tf", "weights.py", "variables_of", "Keras' layers have names of their own for these"),
)
"""An entry that is no longer needed fails the test. A class stands for its methods too."""

HIDING = (ast.AsyncFunctionDef, ast.Try, ast.With, ast.For, ast.While, ast.Match)
"""Statements that no mirrored file has at its top, for definitions within would not be compared."""

Form = tuple[str, ...]
Forms = dict[str, Form]


def forms_of(source: str, package: str) -> Forms:
    """Return name -> parameters of each definition, in the order of the file.

    Fields of classes and constants are definitions without parameters.
    """
    forms: Forms = {}
    for node in ast.parse(source).body:
        assert not isinstance(node, HIDING), f"line {node.lineno} may hide a definition"
        forms |= dict.fromkeys(fields_of(node), ())
        if isinstance(node, ast.FunctionDef):
            forms[node.name] = parameters(node, HANDED_ON.get(package, set()))
        elif isinstance(node, ast.ClassDef):
            forms[node.name] = ()
            for field in (name for part in node.body for name in fields_of(part)):
                forms[f"{node.name}.{field}"] = ()
            own = HANDED_ON.get(package, set()) | OF_METHODS.get(package, set())
            for method in (part for part in node.body if isinstance(part, ast.FunctionDef)):
                name = CALL.get(method.name, method.name)
                forms[f"{node.name}.{name}"] = parameters(method, own)
    return forms


def fields_of(statement: ast.stmt) -> list[str]:
    """Return the names that an assignment gives a value or a type."""
    if isinstance(statement, ast.AnnAssign):
        return [ast.unparse(statement.target)]
    if isinstance(statement, ast.Assign):
        return [name for target in statement.targets for name in ast.unparse(target).split(", ")]
    return []


def parameters(function: ast.FunctionDef, own: set[str]) -> Form:
    """Return the parameters with their kinds and defaults, without types and ``own``."""
    arguments = function.args
    positional = [*arguments.posonlyargs, *arguments.args]
    required = len(positional) - len(arguments.defaults)
    defaults: list[ast.expr | None] = [*[None] * required, *arguments.defaults]
    kinds = [
        *(("", *pair) for pair in zip(positional, defaults, strict=True)),
        ("*", arguments.vararg, None),
        *(("keyword ", *p) for p in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)),
        ("**", arguments.kwarg, None),
    ]
    return tuple(
        kind + parameter.arg + (f"={ast.unparse(default)}" if default else "")
        for kind, parameter, default in kinds
        if parameter is not None and parameter.arg not in own
    )


def differences(packages: Mapping[str, Forms], exceptions: Sequence[Exempt]) -> Iterator[str]:
    """Say how the packages' forms of one file differ, and which exemption nothing needs.

    The packages of an exemption are compared with each other, and all others with each other.
    """
    exempt = {
        (package, name): entry.packages
        for entry in exceptions
        for package in entry.packages.split()
        for name in entry.names.split()
    }

    def group(package: str, name: str) -> str | None:
        of_class = exempt.get((package, name.partition(".")[0]))
        return exempt.get((package, name), of_class)

    for name in dict.fromkeys(name for forms in packages.values() for name in forms):
        groups: dict[str | None, dict[str, Form | None]] = {}
        for package, forms in packages.items():
            groups.setdefault(group(package, name), {})[package] = forms.get(name)
        for compared in groups.values():
            if len(set(compared.values())) > 1:
                yield f"{name}: {compared}"
    for package, name in sorted(exempt):
        rest = {forms.get(name) for p, forms in packages.items() if group(p, name) is None}
        if len({packages[package].get(name), *rest}) == 1:
            yield f"{name} of {package} needs no exemption"
    for first, second in combinations(packages, 2):
        ours, theirs = packages[first], packages[second]
        if [name for name in ours if name in theirs] != [name for name in theirs if name in ours]:
            yield f"{first} and {second} have another order"


def files_of(package: str) -> set[str]:
    return {path.name for path in (PROJECT / f"{package}_impl").glob("*.py")}


def source_of(package: str, file: str) -> str:
    return (PROJECT / f"{package}_impl" / file).read_text(encoding="utf-8")


MIRRORED = sorted(set().union(*map(files_of, BACKENDS)) - ONLY.keys())


def test_the_packages_have_the_same_files() -> None:
    for file in MIRRORED:
        assert {name for name in BACKENDS if file in files_of(name)} == set(BACKENDS), file
    for file, packages in ONLY.items():
        assert {name for name in BACKENDS if file in files_of(name)} == packages, file


@pytest.mark.parametrize("file", MIRRORED)
def test_a_file_has_the_same_definitions_in_all_packages(file: str) -> None:
    packages = {name: forms_of(source_of(name, file), name) for name in BACKENDS}
    exceptions = [entry for entry in EXCEPTIONS if entry.file == file]
    assert list(differences(packages, exceptions)) == []


@pytest.mark.parametrize("package", BACKENDS)
def test_the_packages_offer_the_same_names(package: str) -> None:
    """A package offers the contract's names, each of them defined in the module that it names."""
    assert "return from_contract(__name__, name)\n" in source_of(package, "__init__.py")
    names = [name for names in CONTRACT.values() for name in names.split()]
    assert len(names) == len(set(names)) > 30
    for module, offered in CONTRACT.items():
        defined = forms_of(source_of(package, f"{module}.py"), package)
        assert defined.keys() >= set(offered.split()), module


@pytest.mark.parametrize("file", ["train.py", "predict.py"])
def test_the_scripts_have_the_same_text(file: str) -> None:
    texts = set()
    for name in BACKENDS:
        _, body = source_of(name, file).split("\n", 1)
        texts.add(body.replace(f"{name}_impl", "package"))
    assert len(texts) == 1


def test_every_exemption_is_of_a_mirrored_file() -> None:
    assert {entry.file for entry in EXCEPTIONS} <= set(MIRRORED)


ALIKE = """
class State:
    def __init__(self, size, *, rngs): ...
def _helper(first, second=1): ...
@wrapped
def step(state, *rest, loud=False): ...
"""


@pytest.mark.parametrize(
    "old, new, names",
    [
        ("_helper", "_other", {"_helper", "_other"}),
        ("second=1", "second=2", {"_helper"}),
        ("second=1", "*, second=1", {"_helper"}),
        ("second=1", "second", {"_helper"}),
        ("*rest, loud", "rest, *, loud", {"step"}),
        ("self, size", "self", {"State.__init__"}),
        ("class State:", "class State:\n    def clear(self): ...", {"State.clear"}),
        ("def _helper", "def _more(): ...\ndef _helper", {"_more"}),
        ("@wrapped\ndef step(state, *rest, loud=False): ...", "", {"step"}),
    ],
)
def test_a_planted_difference_is_found_unless_it_is_exempt(
    old: str, new: str, names: set[str]
) -> None:
    packages = planted(old, new)
    assert {line.split(":")[0] for line in differences(packages, [])} == names
    exempt = Exempt("tf", "step.py", " ".join(names), "planted")
    assert list(differences(packages, [exempt])) == []
    # With another package, which has the old form, it is no exemption.
    exempt = exempt._replace(packages="jax tf")
    found = [line.split(":")[0] for line in differences(packages, [exempt])]
    assert {*found} >= names


def test_an_exemption_that_nothing_needs_is_found() -> None:
    alike = planted("", "")
    assert list(differences(alike, [])) == []
    for name in ("State", "step", "gone"):
        exempt = Exempt("tf", "step.py", name, "planted")
        assert list(differences(alike, [exempt])) == [f"{name} of tf needs no exemption"]


def test_another_order_is_found() -> None:
    packages = planted("", "")
    packages["tf"] = dict(reversed(packages["tf"].items()))
    assert list(differences(packages, [Exempt("tf", "step.py", "State", "planted")])) == [
        "State of tf needs no exemption",
        "torch and tf have another order",
        "jax and tf have another order",
    ]


def planted(old: str, new: str) -> dict[str, Forms]:
    """Return the forms of three files, of which the last has ``new`` in the place of ``old``."""
    source = {"torch": ALIKE.replace(", *, rngs", ""), "jax": ALIKE}
    source["tf"] = source["torch"].replace(old, new)
    return {name: forms_of(text, name) for name, text in source.items()}
