"""Published designs as points of a space: which values make the space yield exactly that network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from asc_search.audio.frontend_spec import FrontEnd
from asc_search.nets.blocks import families
from asc_search.nets.plan import stage_width
from asc_search.nets.spec import Scalar
from asc_search.nets.systems import system
from asc_search.space.candidate import Candidate
from asc_search.space.domains import Choice, FloatRange, IntRange
from asc_search.space.draw import DECIDE, draw
from asc_search.space.published import PRESETS
from asc_search.space.schema import NO_PARENT
from asc_search.space.space import Space

# The (3, 2, 1)-block plan of nets.systems.mobile: depth, stride, which block has it.
_MOBILE = ((3, "1x2", "last"), (2, "2x1", "first"), (1, "1x1", "first"))
_CLASSES = 10


def params_for_design(space: Space, name: str) -> dict[str, Scalar] | None:
    """Values of the drawn parameters with which ``space`` deploys the layers of the published design ``name``.

    None where it cannot. The design's own front end is taken as far as the space has it; what does not decide the
    network (training, distillation) is left out, for the sampler to draw.

    Raises:
        NetworkError: no such design.
    """
    published = system(name)()
    if name not in PRESETS:
        return None
    suggest = Preferring(_wanted(name, len(space.stages)))
    candidate = draw(space, suggest, _CLASSES)
    if candidate.deployed.layers != published.with_classes(space.outputs(_CLASSES)).layers:
        return None
    needed = {key for parameter in space.parameters for key, _ in parameter.when}
    return {
        key: value for key, value in suggest.params.items() if key.startswith(DECIDE) or key.partition("[")[0] in needed
    }


def expressed(space: Space, params: dict[str, Scalar], classes: int) -> tuple[Candidate, dict[str, Scalar]]:
    """The candidate with ``params``, first or middle values for what they leave open, and all values taken."""
    suggest = Preferring(params)
    return draw(space, suggest, classes), suggest.params


def _wanted(name: str, stages: int) -> dict[str, Scalar]:
    family, base, multiplier, expansion, ratio = PRESETS[name]
    wanted: dict[str, Scalar] = {f"frontend.{key}": value for key, value in asdict(FrontEnd()).items()}
    wanted |= {
        "network.pretrained": NO_PARENT,
        "network.stem": f"{family}_stem",
        "network.stem_stride": "2x2",
        "network.head": "conv_head",
        "network.base": base,
        "network.multiplier": multiplier,
        "weight_type": "fp16",
        "pruning.target": "ratio",
        "pruning.ratio": ratio,
        "pruning.round_to": 1,
        "pruning.widths": "",
        "pruning.taper": 0.0,
    }
    wanted |= {f"network.stem_{key}": value for key, value in families("stem")[f"{family}_stem"].defaults.items()}
    for index, (depth, stride, stride_at) in enumerate(_MOBILE[:stages]):
        stage = {"family": family, "depth": depth, "stride": stride, "stride_at": stride_at}
        stage |= {"width": stage_width(base, multiplier, index)}
        stage |= {**families("block")[family].defaults, "expansion": expansion}
        wanted |= {f"network.stages.{index}.{key}": value for key, value in stage.items()}
    return wanted


class Preferring:
    """Suggests the wanted value or the nearest there is; the first or middle one where nothing is wanted."""

    def __init__(self, wanted: dict[str, Scalar]) -> None:
        self._wanted = wanted
        self.params: dict[str, Scalar] = {}

    def _take(self, name: str, domain: Choice | IntRange | FloatRange) -> Any:
        wanted = self._wanted.get(name)
        self.params[name] = domain.middle() if wanted is None else domain.nearest(wanted)
        return self.params[name]

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        return self._take(name, Choice(tuple(choices)))

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        return self._take(name, IntRange(low, high, step, log))

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        return self._take(name, FloatRange(low, high, step, log))
