"""Drawing: from a space and something that suggests values (an optuna trial, a generator, a record) to a Candidate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from asc_search.audio.frontend_spec import FrontEnd
from asc_search.errors import AscSearchError
from asc_search.nets.plan import End, Stage, assemble, stage_width
from asc_search.nets.spec import NetSpec, Scalar
from asc_search.space.candidate import Candidate, Distillation, Pruning, Training
from asc_search.space.domains import Choice, Constant, FloatRange, IntRange, Subset, Value, equal
from asc_search.space.schema import DISTILLATION, FRONTEND, NO_PARENT, PRUNING, STEM_STRIDES, TRAINING
from asc_search.space.space import Condition, Parameter, Space

STRIDE_PAIRS = {text: tuple(map(int, text.split("x"))) for text in STEM_STRIDES}
# Parameters that a price depends on.
_PRUNED = ("pruning.ratio", "pruning.target", "pruning.round_to", "pruning.widths", "pruning.taper")
DECIDE = ("frontend.", "network.", *_PRUNED, "weight_type")
_STAGE = ("family", "depth", "width", "stride", "stride_at")


class Suggest(Protocol):
    """What draws a value: the methods of an optuna trial."""

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any: ...

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int: ...

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float: ...


class FixedSuggest:
    """Gives back recorded ``params``, such as those of a finished trial; names that are not asked for do not matter."""

    def __init__(self, params: Mapping[str, Scalar]) -> None:
        self._params = params

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        return self._recorded(name, Choice(tuple(choices)))

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        return int(self._recorded(name, IntRange(low, high, step, log)))

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        return float(self._recorded(name, FloatRange(low, high, step, log)))

    def _recorded(self, name: str, domain: Choice | IntRange | FloatRange) -> Any:
        if name not in self._params:
            raise AscSearchError(f"{name} is not among the recorded parameters; they belong to another space")
        if not domain.contains(self._params[name]):
            got = self._params[name]
            raise AscSearchError(f"{name} was {got!r}, the space has {domain.text}; it belongs to another space")
        return self._params[name]


def draw(space: Space, suggest: Suggest, classes: int) -> Candidate:
    """One point of ``space`` for ``classes`` classes; parameters are asked for in a fixed order, constants never."""
    values = drawn_values(space, suggest)
    parent, outputs = values["network.pretrained"], space.outputs(classes)
    if parent == NO_PARENT:
        frontend = FrontEnd(**{key: values["frontend." + key] for key in FRONTEND})
        network = _network(space, values, frontend, outputs)
    else:
        frontend, network = space.start(parent, outputs)
    return Candidate(
        frontend=frontend,
        network=network,
        weight_type=values["weight_type"],
        pruning=Pruning(**{key: values["pruning." + key] for key in PRUNING}),
        training=Training(**{key: values["training." + key] for key in TRAINING}),
        distillation=Distillation(
            **{key: values["distillation." + key] for key in ("teachers", "peers", *DISTILLATION)}
        ),
        groups=space.data.groups,
        parent="" if parent == NO_PARENT else parent,
    )


def drawn_values(space: Space, suggest: Suggest) -> dict[str, Any]:
    """The values of all parameters at one point of ``space``."""
    values = dict(space.constants)
    for parameter in space.varying:
        if parameter.when and not _holds(parameter.when, values):
            values[parameter.name] = parameter.default
        else:
            values[parameter.name] = _value(parameter, suggest)
    return values


def parameters(space: Space) -> list[Parameter]:
    """What is searched, in the order in which it is drawn; constants are left out."""
    return [parameter for parameter in space.varying if not isinstance(parameter.domain, Constant)]


def _holds(when: Condition, values: Mapping[str, Value]) -> bool:
    for name, allowed in when:
        value = values[name]
        held = value if isinstance(value, tuple) else (value,)
        if not any(equal(member, one) for member in held for one in allowed):
            return False
    return True


def _value(parameter: Parameter, suggest: Suggest) -> Value:
    name, domain = parameter.name, parameter.domain
    match domain:
        case Choice():
            return suggest.suggest_categorical(name, domain.values)
        case IntRange():
            return suggest.suggest_int(name, domain.low, domain.high, step=domain.step, log=domain.log)
        case FloatRange():
            return suggest.suggest_float(name, domain.low, domain.high, step=domain.step, log=domain.log)
        case Subset():
            drawn = [member for member in domain.members if suggest.suggest_int(f"{name}[{member}]", 0, 1)]
            spare = [member for member in domain.members if member not in drawn]
            chosen = {*drawn, *spare[: max(0, domain.least - len(drawn))]}
            return tuple(member for member in domain.members if member in chosen)
        case Constant():
            return domain.value


def _network(space: Space, values: Mapping[str, Any], frontend: FrontEnd, outputs: int) -> NetSpec:
    base, multiplier = values["network.base"], values["network.multiplier"]
    stages = []
    for index, names in enumerate(space.stages):
        path = f"network.stages.{index}."
        family, depth, width, stride, stride_at = (values[path + key] for key in _STAGE)
        options = _given(values, path, names)
        out = stage_width(base, multiplier, index) if width is None else width
        stages.append(Stage(family, depth, out, STRIDE_PAIRS[stride], stride_at, options))
    stem, head = (
        End(values[f"network.{end}"], _given(values, f"network.{end}_", names)) for end, names in space.ends.items()
    )
    stem_stride = STRIDE_PAIRS[values["network.stem_stride"]]
    return assemble(frontend.shape, outputs, stem, base, stages, stem_stride, head)


def _given(values: Mapping[str, Any], path: str, names: Sequence[str]) -> dict[str, Any]:
    """The values of the family options ``names``; those without one are left to the family."""
    return {name: values[path + name] for name in names if values[path + name] is not None}
